"""Which data set is meant, told from a name or a path, before a byte of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets import digits, idx, kaggle
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError

EXPECTED = "expected `digits`, a folder with the four MNIST IDX files, or Kaggle's train.csv"
KAGGLE_NAME = "train.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set that is there."""

    kind: str
    """`digits`, `idx` or `kaggle`."""
    path: Path | None = None


def locate(name: object, environ: Mapping[str, str]) -> Source:
    """The data set called `name`; None: what lies in GPURUN_DATA_DIR, else the bundled digits.

    Raises `JobError` where there is no data, or none that can be read.
    """
    if name is None:
        folder = environ.get("GPURUN_DATA_DIR")
        has_data = folder and Path(folder).is_dir() and any(Path(folder).iterdir())
        name = folder if has_data else "digits"
    if name == "digits":
        return Source(kind="digits")
    if not isinstance(name, str | Path) or not str(name):
        raise JobError(f"no data is named: {EXPECTED}")
    return _locate_path(Path(name))


def load(source: Source) -> Dataset:
    """Read it; raises `JobError` for content that cannot be."""
    if source.path is None:
        return digits.read()
    if source.kind == "kaggle":
        return kaggle.read(source.path)
    return idx.read(idx.find(source.path))


def _locate_path(path: Path) -> Source:
    if path.is_file() and path.suffix == ".csv":
        return Source(kind="kaggle", path=path)
    if not path.is_dir():
        raise JobError(f"{path} {'is no data set' if path.exists() else 'does not exist'}: {EXPECTED}")
    below = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    for folder in (path, *below):
        if (folder / KAGGLE_NAME).is_file():
            return Source(kind="kaggle", path=folder / KAGGLE_NAME)
        if found := idx.find(folder):
            _check_complete(folder, found)
            return Source(kind="idx", path=folder)
    held = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
    raise JobError(f"{path} holds {held}: {EXPECTED}")


def _check_complete(folder: Path, found: Mapping[str, Path]) -> None:
    if missing := [part for part in idx.PARTS if part not in found]:
        raise JobError(f"{folder} lacks the MNIST file(s) {', '.join(missing)}")
