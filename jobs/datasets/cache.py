"""Data sets as they were parsed, kept for the next time, since a large CSV takes seconds to read.

An entry is one file of plain .npy arrays in an archive that is not compressed (an NPZ), named by what was read: the
SHA-256 of the files' bytes, the reader and its version. The archive holds a CRC-32 of each array, which is checked when
it is read; an entry that is broken is removed, and the files are read again. Only what is slow to read and large is
kept. The cache is a convenience: where its folder cannot be written, the data set is read as if there were none.

Folder: $GPURUN_CACHE_DIR, else gpurun/jobs in $XDG_CACHE_HOME, else in ~/.cache. $GPURUN_NO_CACHE, not empty, turns it
off. At most `LARGEST_BYTES` are kept, those that were used last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jobs.datasets.dataset import Dataset

WORTHWHILE_BYTES = 4 << 20  # of source files; less is read in no time
LARGEST_BYTES = 2 << 30
ENDING = ".dataset.npz"
ARRAYS = ("train_x", "train_y", "valid_x", "valid_y", "test_x", "test_y")
META = "meta"
BROKEN = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, NotImplementedError)


def load(files: Sequence[Path], reader: str, read: Callable[[], Dataset], environ: Mapping[str, str]) -> Dataset:
    """The data set that `read()` makes of `files`, from the cache where it holds it; `reader` names it and its version.

    Raises what `read` raises, and nothing of its own.
    """
    if environ.get("GPURUN_NO_CACHE") or not _worthwhile(files):
        return read()
    try:
        folder = folder_of(environ)
        path = folder / f"{key(files, reader)}{ENDING}"
    except (OSError, RuntimeError):  # a file that cannot be read, or no home: the reader tells of the one
        return read()
    if (found := _read(path)) is not None:
        return found
    dataset = read()
    with contextlib.suppress(OSError):
        _write(path, dataset)
        _make_room(folder)
    return dataset


def folder_of(environ: Mapping[str, str]) -> Path:
    """Where the entries are; raises RuntimeError where there is no home to keep them in."""
    if given := environ.get("GPURUN_CACHE_DIR"):
        return Path(given)
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gpurun" / "jobs"


def key(files: Sequence[Path], reader: str) -> str:
    """The same for the same content in the same order, read by the same reader."""
    digest = hashlib.sha256(reader.encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _worthwhile(files: Sequence[Path]) -> bool:
    try:
        return sum(path.stat().st_size for path in files) >= WORTHWHILE_BYTES
    except OSError:
        return False


def _read(path: Path) -> Dataset | None:
    """The data set in an entry; None where there is none that is whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            meta = json.loads(str(archive[META]))
            arrays = {name: archive[name] for name in archive.files if name != META}
        os.utime(path)  # it was used just now
        return Dataset(
            **arrays,
            name=meta["name"],
            scale=meta["scale"],
            classes=meta["classes"],
            targets=tuple(meta["targets"]),
            image_shape=tuple(meta["image_shape"]) if meta["image_shape"] else None,
        )
    except FileNotFoundError:
        return None
    except BROKEN:
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def _write(path: Path, dataset: Dataset) -> None:
    """Fill a file of our own beside `path`, then rename it: several jobs may write the same entry at once."""
    meta = {name: getattr(dataset, name) for name in ("name", "scale", "classes", "targets", "image_shape")}
    arrays: dict[str, Any] = {META: np.array(json.dumps(meta))}
    arrays |= {name: getattr(dataset, name) for name in ARRAYS if getattr(dataset, name) is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(suffix=f"{ENDING}.part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        Path(beside).replace(path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


def _make_room(folder: Path) -> None:
    """Remove what was not used for longest, until `LARGEST_BYTES` are kept."""
    entries = [(path, path.stat()) for path in folder.iterdir() if ENDING in path.name]
    entries.sort(key=lambda entry: entry[1].st_mtime, reverse=True)
    kept_bytes = 0
    for path, stat in entries:
        kept_bytes += stat.st_size
        if kept_bytes > LARGEST_BYTES:
            path.unlink(missing_ok=True)
