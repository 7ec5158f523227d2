"""Binary logistic regression: is a row of the one class, or of any other?

Source: deck 4, which begins with two classes: p(yes | x) = 1 / (1 + exp(-(w x + b))), its cost the cross-entropy of
that, made small by gradient descent from zero weights. One output is enough, since p(no) = 1 - p(yes).

The option `positive` is the class that is a yes. Of data with two classes, 0 and 1, the default, 1, leaves the labels
as they are; of ten digits it asks for the ones. Where the classes are of one size, a tenth of the digits are a yes,
and who always says no is wrong for one row in ten: look at the error with that in mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.catalogue import Settings
from jobs.errors import JobError
from jobs.layers.rows import check_classes_of_rows
from jobs.stages import Done, Stage

if TYPE_CHECKING:
    import keras

    from jobs.config import Config
    from jobs.datasets.dataset import Dataset

OBJECTIVE = "binary"

OPTIONS: Mapping[str, Any] = MappingProxyType({"positive": 1})

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=12,
            batch_size=600,
            learning_rate=0.005,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
        ),
        "digits": Settings(epochs=30, batch_size=50, learning_rate=0.2, threads=1),
    }
)


def stages(config: Config) -> Sequence[Stage]:
    """One, on labels that say yes or no."""
    positive = int(config.options["positive"])

    def select(dataset: Dataset, _done: Done) -> Dataset:
        return one_against_the_rest(dataset, positive)

    return [Stage(name="", config=config, build=build, objective=OBJECTIVE, select=select)]


def one_against_the_rest(dataset: Dataset, positive: int) -> Dataset:
    """The same rows, labelled 1 where they are of that class and 0 elsewhere; raises `JobError` where none can be."""
    if not dataset.classes:
        raise JobError("binary tells one class from the others: the targets of these data are numbers")
    if not 0 <= positive < dataset.classes:
        raise JobError(f"positive is {positive}: expected a class of these data, 0 to {dataset.classes - 1}")
    valid_y = dataset.valid_y
    return replace(
        dataset,
        train_y=(dataset.train_y == positive).astype(np.int64),
        test_y=(dataset.test_y == positive).astype(np.int64),
        valid_y=None if valid_y is None else (valid_y == positive).astype(np.int64),
        classes=2,
    )


def build(config: Config) -> keras.Model:
    """The layer for rows of `config.input_shape` (784 pixels of MNIST, 64 of the 8x8 digits).

    Raises `JobError` for rows of another kind.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    check_classes_of_rows(config)
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    logit = keras.layers.Dense(1, kernel_initializer="zeros", dtype=keras.config.floatx(), name="output")(
        pixels
    )  # (batch, 1); above 0: more likely yes than no
    return keras.Model(pixels, logit, name="binary")
