"""Softmax logistic regression: one layer, no hidden units, ten classes.

Source: the course decks' first model, multinomial logistic regression on MNIST (batches of 600, rate 0.13 on the mean
cost, zero weights at the start: the cost is convex, so nothing needs to break a symmetry). Here the rate is the same
on the summed cost: 0.13 / 600. The deck stops early, after 74 epochs, at 7.48 % of errors; ours ends after 75.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobs.catalogue import Settings

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(epochs=75, batch_size=600, learning_rate=0.13, threads=1),
        "digits": Settings(epochs=30, batch_size=50, learning_rate=0.2, l2=0.0002, penalised="all"),
    }
)


def build(config: Config) -> keras.Model:
    """The layer for rows of `config.input_shape` (784 pixels of MNIST, 64 of the 8x8 digits)."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    keras.utils.set_random_seed(config.seed)
    pixels = keras.Input(config.input_shape)  # (batch, 784)
    logits = keras.layers.Dense(config.outputs, kernel_initializer="zeros", dtype=keras.config.floatx(), name="output")(
        pixels
    )  # (batch, 10)
    return keras.Model(pixels, logits, name="logistic")
