"""Which of seven expressions a face of 48x48 pixels shows: three convolutions with batch normalisation, a softmax.

Source: deck 0 for the problem (48x48 grey, angry, disgust, fear, happy, sad, surprise, neutral), deck 3 for batch
normalisation between a linear layer and its nonlinearity. Each convolution of 3x3 keeps the border and is pooled to
half; 256 units, half of them dropped in training, decide.

In FER2013 one face in seventy shows disgust: `--sampling balanced` draws batches that hold every class equally often.
The shares of the held-out rows stay as they are, so the error may rise while disgust is found more often. On the real
faces each epoch sees them turned by up to 10 degrees, moved, resized and mirrored (augment `faces`). Drawn faces need
none of that: a tenth of their labels is wrong on purpose, and an error of 10 % is the least that can be.
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
    {"kernels": (32, 64, 128), "hidden_units": 256, "conv_dropout": 0.25, "dropout": 0.5}
)

WINDOW = 3
"""Pixels along a side of what a kernel sees."""

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=40,
            batch_size=128,
            learning_rate=0.001,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            augment="faces",
        ),
        "faces-expressions": Settings(
            epochs=8,
            batch_size=64,
            learning_rate=0.001,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            options={"kernels": (16, 32, 64), "hidden_units": 128, "conv_dropout": 0.0},
        ),
    }
)


def build(config: Config) -> keras.Model:
    """The network for rows of `config.input_shape` that are pictures, and have classes.

    Raises `JobError` where they are none, or too small for so many convolutions.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.blocks import normalised  # noqa: PLC0415  # it imports Keras
    from jobs.layers.pictures import as_pictures, check_not_eaten_up  # noqa: PLC0415  # likewise

    check_classes(config)
    options = config.options

    def glorot(layer: str) -> Any:
        return initializers.make("glorot", seed_for(config.seed, layer))

    def dropped(layer: str, rate: float, inputs: Any) -> Any:
        return keras.layers.Dropout(rate, seed=seed_for(config.seed, layer), name=layer)(inputs)

    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 2304)
    maps = as_pictures(config, pixels)  # (batch, 48, 48, 1)
    check_not_eaten_up(config, [WINDOW for _ in options["kernels"]], "same")
    for number, kernels in enumerate(options["kernels"], start=1):
        layer = f"conv_{number}"
        conv = keras.layers.Conv2D(
            kernels, WINDOW, padding="same", use_bias=False, kernel_initializer=glorot(layer), name=layer
        )
        maps = normalised(conv, "relu", maps)  # (batch, 48, 48, 32), then (.., 24, 24, 64), then (.., 12, 12, 128)
        maps = keras.layers.MaxPooling2D(name=f"{layer}_pool")(maps)  # half the sides: (batch, 6, 6, 128) at last
    units = keras.layers.Flatten(name="flat")(maps)  # (batch, 4608)
    units = dropped("conv_dropout", options["conv_dropout"], units)
    hidden = keras.layers.Dense(
        options["hidden_units"], use_bias=False, kernel_initializer=glorot("hidden"), name="hidden"
    )
    units = dropped("dropout", options["dropout"], normalised(hidden, "relu", units))  # (batch, 256)
    logits = keras.layers.Dense(
        config.outputs, kernel_initializer=glorot("output"), dtype=keras.config.floatx(), name="output"
    )(units)  # (batch, 7)
    return keras.Model(pixels, logits, name="expressions")
