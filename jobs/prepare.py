"""From settings to data in memory and Keras imported, both at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import runtime
from jobs.augment import catalogue as augment
from jobs.config import Config, fold_of
from jobs.datasets import source
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.sampling import splits
from jobs.second_order import catalogue as second_order


def prepare(config: Config) -> tuple[Dataset, Config, float]:
    """Read the data while Keras is imported; the settings then know the data's shape. With the seconds it took."""
    started = time.perf_counter()
    reading = _meanwhile(lambda: source.load(config.data))
    runtime.start(config)
    dataset = reading.result()
    dataset = held_out(config, dataset)
    return dataset, fitted(config, dataset), time.perf_counter() - started


def _meanwhile(read: Callable[[], Dataset]) -> Future[Dataset]:
    """Read in a thread that nobody waits for when the process is told to end."""
    future: Future[Dataset] = Future()

    def run() -> None:
        try:
            future.set_result(read())
        except BaseException as error:  # noqa: BLE001  # handed on, to be raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="data", daemon=True).start()
    return future


def fitted(config: Config, dataset: Dataset) -> Config:
    """The settings with the data's shape in them; raises `JobError` where a batch is more than there is."""
    rows = len(dataset.train_x)
    if config.batch_size > rows and config.optimizer.name not in second_order.METHODS:
        raise JobError(f"batch_size {config.batch_size} is more than the {rows:,} training rows")
    augment.check(config.augment, dataset.image_shape, dataset.targets)
    return replace(
        config,
        input_shape=dataset.input_shape,
        image_shape=dataset.image_shape,
        classes=dataset.classes,
        targets=dataset.targets,
    )


def whole(config: Config, dataset: Dataset) -> Config:
    """The settings with all rows in one batch, where the optimiser looks at every row.

    Raises `JobError` where the rows are to be others in each epoch: its line search compares costs of the same rows.
    """
    if config.optimizer.name not in second_order.METHODS:
        return config
    if config.augment != "none" or config.sampling == "balanced":
        raise JobError(
            f"{config.optimizer.name} needs the same rows in every epoch: say --augment none --sampling shuffled"
        )
    return replace(config, batch_size=len(dataset.train_x))


def held_out(config: Config, dataset: Dataset) -> Dataset:
    """Some of the training rows taken out to choose by, as `hold_out` or `fold` says; classes keep their shares.

    Raises `JobError` where early stopping has nothing to look at.
    """
    chosen = _chosen(config, dataset.train_y, classes=bool(dataset.classes))
    if chosen is not None:
        if not chosen.any() or chosen.all():
            part = "none" if not chosen.any() else "all"
            raise JobError(
                f"hold_out {config.hold_out} of {len(chosen):,} training rows, each class by itself, is {part}"
            )
        dataset = replace(
            dataset,
            valid_x=dataset.train_x[chosen],
            valid_y=dataset.train_y[chosen],
            train_x=dataset.train_x[~chosen],
            train_y=dataset.train_y[~chosen],
        )
    if config.early_stopping.name != "none" and dataset.valid_x is None:
        raise JobError("early_stopping needs rows to choose by: say --hold-out 0.1, say")
    return dataset


def _chosen(config: Config, y: NDArray[Any], *, classes: bool) -> NDArray[np.bool_] | None:
    """Which of the training rows are held out, (rows,); None: none are."""
    if config.fold:
        which, folds = fold_of(config.fold)
        split = (
            splits.stratified_k_fold(y, folds, config.seed) if classes else splits.k_fold(len(y), folds, config.seed)
        )
        return np.asarray(split == which - 1)
    if config.hold_out:
        share, seed = config.hold_out, config.seed
        return splits.stratified(y, share, seed) if classes else splits.hold_out(len(y), share, seed)
    return None
