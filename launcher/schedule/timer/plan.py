"""What an installation writes and runs, and what is found of an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.paths import StatePaths

MARK = "Written by gpurun schedule install; gpurun schedule uninstall removes it."
"""In every file of ours: what lacks it is somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as it is to be, whole."""

    path: Path
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an installation of one kind is."""

    kind: str
    script: File
    """What the machine's scheduler starts, by `/bin/sh`."""
    files: tuple[File, ...]
    """The scheduler's own."""
    commands: tuple[tuple[str, ...], ...]
    line: bytes = b""
    """Of the crontab."""

    @property
    def all_files(self) -> tuple[File, ...]:
        """In the order in which they are written."""
        return (self.script, *self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry of ours that is there."""

    kind: str
    where: str
    script: Path
    every_min: int

    def of(self, state: StatePaths) -> bool:
        """Whether it keeps the time of that state folder."""
        return self.script.parent == state.schedules.absolute()
