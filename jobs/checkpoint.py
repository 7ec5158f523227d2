"""A point from which a training goes on as if nothing had happened."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.files import write_atomically

NAME = "checkpoint.npz"
META, ORDER = "meta", "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Every variable of model and optimiser, and where in which epoch they stood."""

    variables: Mapping[str, NDArray[Any]]
    job: Mapping[str, Any]
    """What must be the same for the numbers to go on: model, data, seed, batch size, .."""
    epoch: int
    batch: int
    """Batches of that epoch that are done."""
    order: NDArray[np.int64]  # (rows,), the epoch's permutation
    seconds: float
    """Of training, up to here."""


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write it over the one before, atomically; raises `JobError` when the disk does not take it."""
    meta = {
        "job": checkpoint.job,
        "epoch": checkpoint.epoch,
        "batch": checkpoint.batch,
        "seconds": checkpoint.seconds,
    }
    arrays: dict[str, Any] = {f"variable/{name}": array for name, array in checkpoint.variables.items()}
    arrays |= {META: np.array(json.dumps(meta)), ORDER: checkpoint.order}
    write_atomically(folder / NAME, lambda file: np.savez(file, **arrays))


def load(folder: Path, job: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint in `folder`, if there is one; raises `JobError` where it is broken or another job's."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(str(arrays.pop(META)))
        found = Checkpoint(
            variables={name.removeprefix("variable/"): array for name, array in arrays.items() if name != ORDER},
            job=meta["job"],
            epoch=meta["epoch"],
            batch=meta["batch"],
            order=arrays[ORDER],
            seconds=meta["seconds"],
        )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise JobError(f"{path} is no checkpoint that can be read ({error}): remove it to start anew") from error
    _check_same_job(path, found.job, job)
    return found


def _check_same_job(path: Path, found: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    for name, expected in job.items():
        if found.get(name) != expected:
            raise JobError(
                f"{path} is of a job with {name} {found.get(name)}, this one has {expected}: "
                f"remove it to start anew, or name another --checkpoint-dir"
            )
