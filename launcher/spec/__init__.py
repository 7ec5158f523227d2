"""What a user asks for: a YAML file, a bare script and flags, each checked whole and turned into a JobSpec.

A bare script needs no YAML reader and a resumed run none of the checks, so each name is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.spec.flags import Overrides, override
    from launcher.spec.legs import check_legs
    from launcher.spec.loading import load
    from launcher.spec.schema import json_schema, schema_json
    from launcher.spec.script import for_script
    from launcher.spec.starter import template
    from launcher.spec.stored import dump, restore

__all__ = [
    "Overrides",
    "check_legs",
    "dump",
    "for_script",
    "json_schema",
    "load",
    "override",
    "restore",
    "schema_json",
    "template",
]

_HOMES = {
    "Overrides": "flags",
    "check_legs": "legs",
    "dump": "stored",
    "for_script": "script",
    "json_schema": "schema",
    "load": "loading",
    "override": "flags",
    "restore": "stored",
    "schema_json": "schema",
    "template": "starter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    value = getattr(import_module(f"launcher.spec.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
