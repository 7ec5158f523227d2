"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from jobs.errors import JobError


def make_folder(path: Path) -> None:
    """Make `path` and its parents; raises `JobError` when that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"cannot make the folder {path}: {error.strerror}", exit_code=1) from error


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, then rename it over `path`.

    Raises `JobError` when the disk is full or the folder cannot be written; `path` is then as it was.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise JobError(f"cannot write {path}: {error.strerror or error}", exit_code=1) from error
