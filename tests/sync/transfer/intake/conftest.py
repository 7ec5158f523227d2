"""The machine's side of an upload, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.agent.intake import Intake
from launcher.agent.place import Place

from .parcels import ROOT


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder on a machine whose home is a new one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = Place(str(tmp_path / "home" / ROOT))
    Path(found.root).parent.mkdir(parents=True)
    found.open_stage()
    return found


@pytest.fixture
def line(place: Place) -> Iterator[Intake]:
    """What one line's process has open."""
    opened = Intake(place)
    yield opened
    opened.close()
