"""Which data set is meant, told from a name or a path, before more than its first line is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from jobs.datasets import (
    cache,
    digits,
    faces,
    fer,
    idx,
    kaggle,
    key_points,
    mnist_pickle,
    npz,
    picture_csv,
    sequence_csv,
    sequences,
)
from jobs.datasets.dataset import Dataset, check
from jobs.datasets.obtain import how_to_get
from jobs.errors import JobError

GENERATED: Mapping[str, Callable[[], Dataset]] = MappingProxyType(
    {
        "digits": digits.read,
        "faces-key-points": faces.read_key_points,
        "faces-expressions": faces.read_expressions,
        "sequences": sequences.read,
    }
)
"""The data sets that need no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads a kind of file."""

    read: Callable[[Path], Dataset]
    version: int = 1
    """One more whenever the same file gives other arrays than before: what is in the cache is then read anew."""
    cached: bool = True
    """Whether it takes so long that the arrays are worth keeping."""


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "idx": Reader(read=lambda folder: idx.read(idx.find(folder))),
        "mnist-pickle": Reader(read=mnist_pickle.read),
        "kaggle": Reader(read=kaggle.read),
        "fer": Reader(read=fer.read),
        "key-points": Reader(read=key_points.read),
        "sequence-csv": Reader(read=sequence_csv.read),
        "npz": Reader(read=npz.read, cached=False),
    }
)

EXPECTED = (
    f"expected {', '.join(f'`{name}`' for name in GENERATED)}, a folder with the four MNIST IDX files, mnist.pkl.gz, "
    f"a CSV of Kaggle's digits or key points, of FER2013 or of sequences, or an .npz"
)
FILES = ("train.csv", "training.csv", "fer2013.csv", "icml_face_data.csv", "mnist.pkl.gz", "mnist.npz")
"""What is looked for in a folder, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set that is there."""

    kind: str
    """A name in `GENERATED`, or in `READERS`."""
    path: Path | None = None


def locate(name: object, environ: Mapping[str, str]) -> Source:
    """The data set called `name`; None: what lies in GPURUN_DATA_DIR, else the bundled digits.

    Raises `JobError` where there is no data, or none that can be read, and says how to get a well-known set.
    """
    if name is None:
        folder = environ.get("GPURUN_DATA_DIR")
        has_data = folder and Path(folder).is_dir() and any(Path(folder).iterdir())
        name = folder if has_data else "digits"
    if isinstance(name, str) and name in GENERATED:
        return Source(kind=name)
    if not isinstance(name, str | Path) or not str(name):
        raise JobError(f"no data is named: {EXPECTED}")
    return _locate_path(Path(name))


def load(source: Source) -> Dataset:
    """Read it, and check that it can be trained on; raises `JobError` for content that cannot be."""
    path = source.path
    if path is None:
        return check(GENERATED[source.kind]())
    reader = READERS[source.kind]
    files = sorted(idx.find(path).values()) if source.kind == "idx" else [path]
    if reader.cached:
        version = f"{source.kind} {reader.version}"
        found = cache.load(files, version, lambda: reader.read(path), os.environ)
    else:
        found = reader.read(path)
    return check(replace(found, name=f"{found.name} from {path}"))


def _locate_path(path: Path) -> Source:
    if path.is_file():
        return _locate_file(path)
    if not path.is_dir():
        was = "is no data set" if path.exists() else "does not exist"
        raise JobError(f"{path} {was}: {EXPECTED}{how_to_get(path.name)}")
    below = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    for folder in (path, *below):
        for name in FILES:
            if (folder / name).is_file():
                return _locate_file(folder / name)
        if found := idx.find(folder):
            _check_complete(folder, found)
            return Source(kind="idx", path=folder)
    if len(others := [file for file in sorted(path.iterdir()) if file.suffix in {".csv", ".npz"}]) == 1:
        return _locate_file(others[0])
    held = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
    raise JobError(f"{path} holds {held}: {EXPECTED}")


def _locate_file(path: Path) -> Source:
    if path.name.endswith((".pkl.gz", ".pkl")):
        return Source(kind="mnist-pickle", path=path)
    if path.suffix == ".npz":
        return Source(kind="npz", path=path)
    if path.suffix == ".csv":
        return Source(kind=kind_of_csv(path), path=path)
    raise JobError(f"{path} is no data set: {EXPECTED}")


def kind_of_csv(path: Path) -> str:
    """Which CSV it is, by its header; one that is like none is taken for Kaggle's digits, whose reader complains."""
    try:
        with path.open("rb") as file:
            columns = picture_csv.header(file.readline())
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    if {"emotion", "pixels"} & set(columns):
        return "fer"
    if key_points.IMAGE in columns or set(columns) & set(key_points.COLUMNS):
        return "key-points"
    return "sequence-csv" if columns[0] == "sequence" else "kaggle"


def _check_complete(folder: Path, found: Mapping[str, Path]) -> None:
    if missing := [part for part in idx.PARTS if part not in found]:
        raise JobError(f"{folder} lacks the MNIST file(s) {', '.join(missing)}{how_to_get('mnist')}")
