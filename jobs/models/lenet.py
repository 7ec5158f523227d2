"""LeNet: two layers of convolution and pooling, then 500 tanh units and a softmax over ten digits.

Source: deck 1, whose LeNet has 20 and 50 kernels of 5x5 and ends at 0.92 % of errors after 200 epochs, 380 minutes on
its CPU and 33 on its GPU. It tries smaller ones: kernels 2 and 5 with 10 units 4.26 % (20 epochs), 4 and 10
with 20 units 1.88 %, 8 and 20 with 40 units 1.56 % (30 epochs): `--set kernels=4,10 --set hidden_units=20`.
After LeCun et al., Gradient-based learning applied to document recognition, 1998.

As in the deck, bias and tanh come after the pooling. Both keep the order of numbers, so that the largest of four is the
largest before them as well as after: the result is the same, with a quarter of the work. On pictures below 16 pixels
the convolutions keep the border, and see black around it: else there would be nothing left to look at.

By default each digit is moved by up to a pixel in every epoch, and the rate of Adam warms up and falls to 0.
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

OPTIONS: Mapping[str, Any] = MappingProxyType({"kernels": (20, 50), "hidden_units": 500})

WINDOW = 5
"""Pixels along a side of what a kernel sees."""

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=10,
            batch_size=128,
            learning_rate=0.0015,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            augment="shift",
        ),
        "digits": Settings(
            epochs=15,
            batch_size=32,
            learning_rate=0.002,
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
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    maps = as_pictures(config, pixels)  # (batch, 28, 28, 1)
    check_not_eaten_up(config, [WINDOW for _ in config.options["kernels"]], padding_for(config))
    for number, kernels in enumerate(config.options["kernels"], start=1):
        layer = f"conv_{number}"
        maps = keras.layers.Conv2D(
            kernels,
            WINDOW,
            padding=padding_for(config),
            use_bias=False,
            kernel_initializer=initializers.make("glorot", seed_for(config.seed, layer)),
            name=layer,
        )(maps)  # (batch, 24, 24, 20), then (batch, 8, 8, 50)
        maps = keras.layers.MaxPooling2D(name=f"{layer}_pool")(maps)  # (batch, 12, 12, 20), then (batch, 4, 4, 50)
        maps = Bias(activation="tanh", name=f"{layer}_tanh")(maps)
    units = keras.layers.Flatten(name="flat")(maps)  # (batch, 800)
    units = keras.layers.Dense(
        config.options["hidden_units"],
        activation="tanh",
        kernel_initializer=initializers.make("glorot", seed_for(config.seed, "hidden")),
        name="hidden",
    )(units)  # (batch, 500)
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(config.seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(units)  # (batch, 10)
    return keras.Model(pixels, logits, name="lenet")
