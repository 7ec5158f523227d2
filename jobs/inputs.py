"""What is done to the inputs before a network sees them: nothing, standardising, or whitening.

What is learnt for it from the training rows belongs to the weights: it lies beside them as inputs.npz.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import standardising, whitening
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.files import write_atomically

NAMES = ("plain", "standardised", "whitened")
FILE = "inputs.npz"

Transform = standardising.Standard | whitening.Whitening


def fit(name: str, dataset: Dataset) -> Transform | None:
    """What `name` learns from the training rows; None where the inputs stay as they are. Raises `JobError`."""
    if name == "plain":
        return None
    if dataset.train_x.ndim != 2:
        raise JobError(f"inputs {name} is for rows of numbers: these are {dataset.train_x.ndim - 1}-dimensional")
    scaled = dataset.train_x * np.float32(dataset.scale)
    return standardising.fit(scaled) if name == "standardised" else whitening.fit(scaled)


def apply(transform: Transform | None, dataset: Dataset) -> Dataset:
    """The data set with the inputs of every part transformed; whitened rows are no pictures any more."""
    if transform is None:
        return dataset

    def changed(x: NDArray[Any]) -> NDArray[np.float32]:
        return transform.apply(x * np.float32(dataset.scale))

    return replace(
        dataset,
        train_x=changed(dataset.train_x),
        test_x=changed(dataset.test_x),
        valid_x=None if dataset.valid_x is None else changed(dataset.valid_x),
        scale=1.0,
        image_shape=dataset.image_shape if isinstance(transform, standardising.Standard) else None,
    )


def save(folder: Path, transform: Transform | None) -> None:
    """Write inputs.npz atomically; where there is nothing to write, one of a job before goes."""
    if transform is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    arrays: Mapping[str, Any] = transform.arrays()
    write_atomically(folder / FILE, lambda file: np.savez(file, **arrays))


def load(folder: Path, name: str) -> Transform | None:
    """What `save` wrote for inputs of that name; raises `JobError` where it is missing or broken."""
    if name == "plain":
        return None
    path = folder / FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        return standardising.from_arrays(arrays) if name == "standardised" else whitening.from_arrays(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise JobError(f"the weights are for {name} inputs, and {path} cannot be read: {error}") from error
