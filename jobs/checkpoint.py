"""A point from which a training goes on as if nothing had happened."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.files import write_atomically

NAME = "checkpoint.npz"
META, ORDER = "meta", "order"
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


@dataclass(slots=True, kw_only=True)
class Place:
    """How far a training is."""

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches of that epoch that are done."""
    judged: bool = True
    """False where the training stopped between the batch and the line that tells of it."""
    step: int = 0
    """Batches that are done, over all epochs and stages."""
    seconds: float = 0.0
    """Of training, up to here."""
    stopper: dict[str, Any] | None = None
    """What early stopping remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Every variable of model and optimiser, and where in which epoch they stood."""

    variables: Mapping[str, NDArray[Any]]
    best: Mapping[str, NDArray[Any]]
    """The weights that early stopping would go back to; empty without it."""
    job: Mapping[str, Any]
    """What must be the same for the numbers to go on: model, data, seed, batch size, .."""
    place: Place
    order: NDArray[np.int32]  # (rows,), the epoch's permutation


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write it over the one before, atomically; raises `JobError` when the disk does not take it."""
    meta = {"job": checkpoint.job, "place": asdict(checkpoint.place)}
    arrays: dict[str, Any] = {f"variable/{name}": array for name, array in checkpoint.variables.items()}
    arrays |= {f"best/{name}": array for name, array in checkpoint.best.items()}
    arrays |= {META: np.array(json.dumps(meta)), ORDER: checkpoint.order}
    write_atomically(folder / NAME, lambda file: np.savez(file, **arrays))


def load(folder: Path, job: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint in `folder`, if there is one; raises `JobError` where it is broken or another job's."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        arrays = _read(path)
        meta = json.loads(str(arrays.pop(META)))
        found = Checkpoint(
            variables=_below("variable/", arrays),
            best=_below("best/", arrays),
            job=meta["job"],
            place=Place(**meta["place"]),
            order=arrays[ORDER],
        )
    except UNREADABLE as error:
        raise JobError(f"{path} is no checkpoint that can be read ({error}): remove it to start anew") from error
    _check_same_job(path, found.job, job)
    return found


def save_stage(folder: Path, number: int, weights: Mapping[str, NDArray[Any]]) -> None:
    """Keep the weights of a stage that is done beside the checkpoint: they are written once, not with each."""
    write_atomically(folder / _stage_name(number), lambda file: np.savez(file, **weights))  # type: ignore[arg-type]  # names are not options of it


def load_stage(folder: Path, number: int) -> dict[str, NDArray[Any]]:
    """What `save_stage` kept; raises `JobError` where it is missing or broken."""
    path = folder / _stage_name(number)
    try:
        return _read(path)
    except UNREADABLE as error:
        raise JobError(f"{path} cannot be read ({error}): remove {folder / NAME} to start anew") from error


def _stage_name(number: int) -> str:
    return f"stage-{number}.npz"


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check_same_job(path: Path, found: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    for name, expected in job.items():
        if found.get(name) != expected:
            raise JobError(
                f"{path} is of a job with {name} {found.get(name)}, this one has {expected}: "
                f"remove it to start anew, or name another --checkpoint-dir"
            )
