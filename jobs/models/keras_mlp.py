"""Two hidden layers of 512 ReLU units with dropout: the network that Keras's own example trains on MNIST.

Source: deck 3, which takes it to show Keras: batches of 128, Adam, 20 epochs, a fifth of the units dropped after each
layer, 98.40 % of the test digits right (1.6 % of errors). Its learning rate is constant; here it warms up and then
falls to 0 over the same 20 epochs (`--schedule constant` is the deck's).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs import initializers
from jobs.catalogue import Settings
from jobs.layers.rows import check_classes_of_rows
from jobs.seeds import seed_for

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

OPTIONS: Mapping[str, Any] = MappingProxyType({"hidden_units": 512, "dropout": 0.2})

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=20,
            batch_size=128,
            learning_rate=0.001,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
        ),
        "digits": Settings(
            epochs=20,
            batch_size=32,
            learning_rate=0.001,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
        ),
    }
)


def build(config: Config) -> keras.Model:
    """The network for rows of `config.input_shape` (784 pixels of MNIST, 64 of the 8x8 digits).

    Raises `JobError` for rows of another kind.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    check_classes_of_rows(config)
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    units = pixels
    for layer in ("hidden_1", "hidden_2"):
        units = keras.layers.Dense(
            config.options["hidden_units"],
            activation="relu",
            kernel_initializer=initializers.make("glorot", seed_for(config.seed, layer)),
            name=layer,
        )(units)  # (batch, 512)
        dropout = f"{layer}_dropout"
        units = keras.layers.Dropout(config.options["dropout"], seed=seed_for(config.seed, dropout), name=dropout)(
            units
        )  # (batch, 512), a fifth of them 0 in training
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(config.seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(units)  # (batch, 10)
    return keras.Model(pixels, logits, name="keras_mlp")
