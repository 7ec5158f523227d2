"""The rows of each epoch, and their order: drawn from the seed and the epoch's number, whatever went before."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.augment import catalogue as augmentations
from jobs.config import Config
from jobs.datasets.dataset import Dataset
from jobs.network import Network, Rows
from jobs.sampling import order

AUGMENT = 1
"""Tells the draws of augmentation from those of the order, which are of (seed, epoch) alone."""


@dataclass(slots=True, kw_only=True)
class Epochs:
    """Hands out an epoch's rows on the device; where they are varied, the next epoch's are made meanwhile."""

    config: Config
    dataset: Dataset
    network: Network
    weights: NDArray[np.float32] | None = None
    held: Rows | None = None
    ahead: dict[int, Future[tuple[NDArray[Any], NDArray[Any]]]] = field(default_factory=dict)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "augment"))

    @property
    def batches(self) -> int:
        """Whole batches in an epoch."""
        return len(self.dataset.train_x) // self.config.batch_size

    def order(self, epoch: int) -> NDArray[np.int32]:
        """Which rows the batches of that epoch are made of, (rows,)."""
        return order.draw(self.config.sampling, self.config.seed, epoch, self.dataset.train_y).astype(np.int32)

    def rows(self, epoch: int) -> Rows:
        """The rows of that epoch."""
        if self.config.augment == "none":
            self.held = self.held or self._put(self.dataset.train_x, self.dataset.train_y)
            return self.held
        made = self.ahead.pop(epoch, None) or self.pool.submit(self._vary, epoch)
        if epoch + 1 < self.config.epochs:
            self.ahead = {epoch + 1: self.pool.submit(self._vary, epoch + 1)}
        self.held = None  # its memory is wanted for the next
        return self._put(*made.result())

    def close(self) -> None:
        """No epoch follows; whoever asked to stop does not wait for one that is being made."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _put(self, x: NDArray[Any], y: NDArray[Any]) -> Rows:
        return self.network.rows(x, y, self.weights)

    def _vary(self, epoch: int) -> tuple[NDArray[Any], NDArray[Any]]:
        random = np.random.default_rng([self.config.seed, epoch, AUGMENT])
        vary, data = augmentations.find(self.config.augment), self.dataset
        assert data.image_shape is not None  # noqa: S101  # checked when the data had been read
        return vary(data.train_x, data.train_y, data.image_shape, data.targets, random)
