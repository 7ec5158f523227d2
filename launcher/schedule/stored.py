"""The spec of a schedule: the file that its user wrote, or what was read of it where it was deployed from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from launcher import spec as specs
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.domain import JobSpec

SPEC_NAME = "spec.stored.json"
"""No spec of a user's is called so."""


def read(path: Path) -> JobSpec | None:
    """The spec that was read before; `None` for a file that a user writes. Raises `SpecError`."""
    if path.name != SPEC_NAME:
        return None
    try:
        return specs.restore(path.read_text())
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}", hint="gpurun schedule deploy sends it") from error
