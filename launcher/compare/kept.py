"""What the ledger keeps of a comparison before its first run is launched: enough to put it together whatever dies."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from launcher.compare.assemble import Request
from launcher.comparison import Leg
from launcher.domain import RunId
from launcher.errors import LedgerError


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """The legs that share one run."""

    run_id: RunId
    place: str
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All of what was asked for."""

    request: Request
    runs: tuple[KeptRun, ...]
    warnings: tuple[str, ...] = ()
    """What was told before the launch."""


@functools.cache
def _adapter() -> TypeAdapter[Kept]:
    return TypeAdapter(Kept)


def dumps(kept: Kept) -> str:
    """As text for the ledger."""
    return _adapter().dump_json(kept).decode()


def loads(text: str) -> Kept:
    """From the ledger's text; raises `LedgerError`."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as fault:
        raise LedgerError(
            f"what was asked for cannot be read ({fault.error_count()} faults)", hint="gpurun compare-cpu-gpu anew"
        ) from fault
