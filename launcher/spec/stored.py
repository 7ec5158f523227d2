"""A JobSpec as text, for the ledger: what was launched, whatever became of the files since."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from launcher.domain import JobSpec
from launcher.errors import SpecError

_ADAPTER = TypeAdapter(JobSpec)


def dump(spec: JobSpec) -> str:
    """JSON; names of secrets are in it, their values never."""
    return json.dumps(asdict(spec), default=str)


def restore(text: str) -> JobSpec:
    """What `dump` wrote, unchecked against the present files; raises `SpecError` for anything else."""
    try:
        spec = _ADAPTER.validate_json(text)
    except ValidationError as fault:
        raise SpecError(
            f"a stored spec cannot be read ({fault.error_count()} faults)", hint="launch again from the spec's file"
        ) from fault
    # JSON does not tell a local path from an address.
    stored = json.loads(text)
    return replace(spec, data=_place(stored.get("data")), outputs=_place(stored.get("outputs")))


def _place(text: str | None) -> Path | str | None:
    return text if text is None or text.startswith("s3:") else Path(text)
