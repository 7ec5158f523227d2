"""A convolutional network: 32, then 64 kernels of 3x3, pooling, 128 ReLU units, dropout, a softmax over ten digits.

Source: deck 3, which replaces the perceptron of its Keras example (98.40 % of the test digits right) by this one
(99.25 %: 0.75 % of errors). A quarter of what the convolutions found is dropped in training, then half of the units.

Bias and ReLU come after the pooling. Both keep the order of numbers, so that the largest of four is the largest before
them as well as after: the result is the same, with a quarter of the work. On pictures below 16 pixels the
convolutions keep the border, and see black around it: else there would be nothing left to look at.

By default each digit is moved by up to a pixel in every epoch, as the deck proposes, and the rate of Adam warms up
and falls to 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs import initializers
from jobs.catalogue import Settings
from jobs.layers.rows import check_classes
from jobs.seeds import seed_for

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"kernels": (32, 64), "hidden_units": 128, "conv_dropout": 0.25, "dropout": 0.5}
)

WINDOW = 3
"""Pixels along a side of what a kernel sees."""

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=11,
            batch_size=128,
            learning_rate=0.002,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            augment="shift",
        ),
        "digits": Settings(
            epochs=20,
            batch_size=32,
            learning_rate=0.003,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
        ),
    }
)


def build(config: Config) -> keras.Model:
    """The network for rows of `config.input_shape` that are pictures, and have classes.

    Raises `JobError` where they are none, or too small for so many convolutions.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.bias import Bias  # noqa: PLC0415  # it imports Keras
    from jobs.layers.pictures import as_pictures, check_not_eaten_up, padding_for  # noqa: PLC0415  # likewise

    check_classes(config)
    options, seed = config.options, config.seed
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    maps = as_pictures(config, pixels)  # (batch, 28, 28, 1)
    check_not_eaten_up(config, [WINDOW for _ in options["kernels"]], padding_for(config))
    for number, kernels in enumerate(options["kernels"], start=1):
        layer = f"conv_{number}"
        maps = keras.layers.Conv2D(
            kernels,
            WINDOW,
            padding=padding_for(config),
            use_bias=False,
            kernel_initializer=initializers.make("glorot", seed_for(seed, layer)),
            name=layer,
        )(maps)  # (batch, 26, 26, 32), then (batch, 11, 11, 64)
        maps = keras.layers.MaxPooling2D(name=f"{layer}_pool")(maps)  # (batch, 13, 13, 32), then (batch, 5, 5, 64)
        maps = Bias(activation="relu", name=f"{layer}_relu")(maps)
    units = keras.layers.Flatten(name="flat")(maps)  # (batch, 1600)
    units = keras.layers.Dropout(options["conv_dropout"], seed=seed_for(seed, "conv_dropout"), name="conv_dropout")(
        units
    )  # (batch, 1600), a quarter of them 0 in training
    units = keras.layers.Dense(
        options["hidden_units"],
        activation="relu",
        kernel_initializer=initializers.make("glorot", seed_for(seed, "hidden")),
        name="hidden",
    )(units)  # (batch, 128)
    units = keras.layers.Dropout(options["dropout"], seed=seed_for(seed, "dropout"), name="dropout")(units)
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(units)  # (batch, 10)
    return keras.Model(pixels, logits, name="cnn")
