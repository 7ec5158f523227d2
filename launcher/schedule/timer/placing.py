"""Files that are written whole, and taken back when what follows fails."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.errors import SpecError
from launcher.schedule.timer.plan import File
from launcher.schedule.timer.script import is_ours


def current(files: Iterable[File]) -> bool:
    """Whether all of them are there as they are to be."""
    return all(_content(each.path) == each.content for each in files)


@contextmanager
def placed(files: Iterable[File]) -> Iterator[None]:
    """Write the files; where that or the block fails, everything is as it was before.

    Raises `SpecError` where a folder cannot be written to, and for a file that is somebody else's.
    """
    wanted = tuple(files)
    before: list[tuple[Path, bytes | None]] = []
    made: list[Path] = []
    try:
        before += [(each.path, _others_refused(each.path)) for each in wanted]
        for each in wanted:
            made += _folders(each.path.parent)
            _write(each)
        yield
    except BaseException as fault:
        _take_back(before, made)
        if isinstance(fault, OSError):
            place = fault.filename or wanted[0].path
            raise SpecError(
                f"cannot write {place}: {fault.strerror or fault}",
                hint="gpurun schedule daemon keeps the time without writing anything",
            ) from fault
        raise


def _take_back(before: list[tuple[Path, bytes | None]], made: list[Path]) -> None:
    for place, content in before:
        with suppress(OSError):
            if content is None:
                place.unlink(missing_ok=True)
            elif _content(place) != content:
                _write(File(path=place, content=content))
    for folder in reversed(made):
        with suppress(OSError):  # somebody else has put something there
            folder.rmdir()


def _folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; gives the new ones, from the top down."""
    missing = [each for each in (*reversed(folder.parents), folder) if not each.exists()]
    for each in missing:
        each.mkdir(mode=0o700)
    return missing


def _write(file: File) -> None:
    number, part = tempfile.mkstemp(prefix=".gpurun-", dir=file.path.parent)
    try:
        with os.fdopen(number, "wb") as output:
            output.write(file.content)
            output.flush()
            os.fsync(output.fileno())
        Path(part).replace(file.path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _others_refused(place: Path) -> bytes | None:
    content = _content(place)
    if content is not None and not is_ours(place):
        raise SpecError(f"{place} is there and is not of gpurun's making", hint=f"move it away: mv {place} ~")
    return content


def _content(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None
