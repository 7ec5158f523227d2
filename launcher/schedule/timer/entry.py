"""What the machine's scheduler is to do: run one pass over the schedules of this state folder, every few minutes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import launcher
from launcher.errors import SpecError
from launcher.paths import StatePaths
from launcher.schedule.timer.carried import carried

LONGEST_EVERY_MIN = 4
"""A tick that is taken five minutes late counts as missed."""
_CACHES = ("UV_CACHE_DIR", "PIP_CACHE_DIR", "XDG_CACHE_HOME")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - looked for, not written to


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One program, with all of its environment."""

    program: tuple[str, ...]
    environment: dict[str, str]
    state: StatePaths
    every_min: int
    warnings: tuple[str, ...] = ()


def make(state: StatePaths, every_min: int) -> Entry:
    """The entry that calls the gpurun that runs now.

    Raises `SpecError` where that one will be gone soon, where Python cannot be named, and for a state folder that a
    line of a crontab cannot name.
    """
    home = state.home.absolute()
    _check_path(home)
    if not sys.executable:
        raise SpecError("it is not known which Python runs this", hint="call gpurun by its full path")
    environment = carried(os.environ, state)
    root = Path(launcher.__file__).resolve().parents[1]
    if not _importable(environment):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), environment.get("PYTHONPATH"))))
    return Entry(
        program=(sys.executable, "-P", "-m", "launcher.cli", "schedule", "run-due", "--alone"),
        environment=environment,
        state=StatePaths(home),
        every_min=every_min,
        warnings=_short_lived(Path(sys.prefix), root),
    )


def _check_path(home: Path) -> None:
    text = str(home)
    if not text.isprintable():
        raise SpecError(
            f"the state folder {text!r:.120} has a character in its name that no scheduler can be told",
            hint="set XDG_STATE_HOME to another folder, and add the schedules there",
        )


def _importable(environment: dict[str, str]) -> bool:
    """Whether a Python that starts elsewhere, with that environment, finds this very launcher."""
    ask = [sys.executable, "-P", "-c", "import launcher; print(launcher.__file__)"]
    found = subprocess.run(ask, env=environment, cwd="/", capture_output=True, check=False, timeout=60)
    return os.fsdecode(found.stdout.rstrip(b"\n")) == launcher.__file__


def _short_lived(*places: Path) -> tuple[str, ...]:
    """Warnings of places that may be emptied; raises `SpecError` for one that is made to be."""
    caches = [Path(os.environ[name]) for name in _CACHES if os.environ.get(name)]
    caches += [Path.home() / ".cache", Path.home() / "Library" / "Caches", Path.home() / ".local" / "pipx" / ".cache"]
    temporary = [*map(Path, _TEMPORARY), Path(tempfile.gettempdir())]
    for place in places:
        if any(place.is_relative_to(cache) for cache in caches):
            raise SpecError(
                f"this gpurun lies in a cache, {place}, and will be gone one day: an entry would call nothing",
                hint="uv tool install gpurun-launcher (or pipx install), and then gpurun schedule install",
            )
    doubtful = {str(place) for place in places if any(place.is_relative_to(each) for each in temporary)}
    return tuple(
        f"this gpurun lies in {each}, which the system may empty: the entry would call nothing then"
        for each in sorted(doubtful)
    )
