"""Softmax logistic regression: one layer, no hidden units, ten classes.

Source: the course decks' first model, multinomial logistic regression on MNIST (deck 1: batches of 600). The deck
stops early, after 74 epochs, at 7.48 % of errors. Adam, with a rate that warms up and then falls to 0, is there after
12; `--optimizer sgd --schedule constant --learning-rate 0.13 --epochs 75` is the deck's way. It names no rate: 0.13, on
the mean cost, is that of the Theano tutorial (deeplearning.net), whose figures the deck shows.

The first weights are zero: the cost is convex, so nothing needs to break a symmetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobs.catalogue import Settings
from jobs.layers.rows import check_classes_of_rows

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

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
        "digits": Settings(epochs=30, batch_size=50, learning_rate=0.2, l2=0.0002, penalised="all", threads=1),
    }
)


def build(config: Config) -> keras.Model:
    """The layer for rows of `config.input_shape` (784 pixels of MNIST, 64 of the 8x8 digits).

    Raises `JobError` for rows of another kind.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    check_classes_of_rows(config)
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    logits = keras.layers.Dense(config.outputs, kernel_initializer="zeros", dtype=keras.config.floatx(), name="output")(
        pixels
    )  # (batch, 10)
    return keras.Model(pixels, logits, name="logistic")
