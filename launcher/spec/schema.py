"""The spec's JSON Schema, for editors."""

from __future__ import annotations

import json
from typing import Any

from launcher.spec.models import SpecFields

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, with a description for each field."""
    return {"$schema": DRAFT, **SpecFields.model_json_schema(mode="validation")}


def schema_json() -> str:
    """The schema as the text of a file."""
    return json.dumps(json_schema(), indent=2) + "\n"
