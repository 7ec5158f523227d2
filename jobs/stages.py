"""The parts of a training that is not done in one go: pre-training, fine-tuning, an ensemble's members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

    from jobs.config import Config
    from jobs.datasets.dataset import Dataset

Weights = Mapping[str, NDArray[Any]]
Done = Mapping[str, Weights]
"""The weights of the stages that are done, by the stage's name, then by the variable's path."""


def _as_it_is(dataset: Dataset, _done: Done) -> Dataset:
    return dataset


def _nothing(_model: keras.Model, _done: Done) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One network, trained on one set of rows; the last stage's network is what the whole training makes."""

    name: str
    """What its lines and files are called; empty where there is only one stage."""
    config: Config
    """Of this stage; with `epochs` 0 it is put together and judged, not trained."""
    build: Callable[[Config], keras.Model]
    objective: str
    """A name in jobs/objectives/."""
    select: Callable[[Dataset, Done], Dataset] = _as_it_is
    """What it is trained and judged on; the same every time, so that a resumed training finds the same rows."""
    begin: Callable[[keras.Model, Done], None] = _nothing
    """Gives the network its first weights, where they come from stages before it."""
