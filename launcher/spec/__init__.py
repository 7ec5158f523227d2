"""What a user asks for: a YAML file, a bare script and flags, each checked whole and turned into a JobSpec."""

from launcher.spec.load import load
from launcher.spec.override import Overrides, override
from launcher.spec.schema import json_schema, schema_json
from launcher.spec.script import for_script
from launcher.spec.stored import dump, restore
from launcher.spec.template import template

__all__ = [
    "Overrides",
    "dump",
    "for_script",
    "json_schema",
    "load",
    "override",
    "restore",
    "schema_json",
    "template",
]
