"""One hidden layer of 300 ReLU units and a softmax over ten digits: the network of the first deck.

Source: the course deck on Theano and TensorFlow, whose GPU chapter trains it for 20 iterations in batches of 500,
once on the CPU (5 minutes 12 seconds) and once on the GPU (17.9 seconds), to an error of 6.5 % and 5.8 % on 1,000
held-out digits. Rate and penalty go with the cost *summed* over a batch, L2 over weights and biases alike.
The first weights are normal with a variance of 1 / inputs, the old 1/sqrt(n) (LeCun et al., Efficient BackProp, 1998).

The softmax is part of the cost, where it can be computed without overflow; the network itself answers logits.
On the bundled 8x8 digits, 1,438 rows, the deck's settings would end after 40 steps; theirs were chosen over five
other splits of them.
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

OPTIONS: Mapping[str, Any] = MappingProxyType({"hidden_units": 300, "activation": "relu"})

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=20,
            batch_size=500,
            learning_rate=0.0004,
            reduction="sum",
            l2=0.01,
            penalised="all",
            print_every=10,
            half_threads=1,
        ),
        "digits": Settings(
            epochs=60,
            batch_size=50,
            learning_rate=0.004,
            reduction="sum",
            l2=0.01,
            penalised="all",
            print_every=10,
            half_threads=1,
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
    hidden = keras.layers.Dense(
        config.options["hidden_units"],
        activation=config.options["activation"],
        kernel_initializer=initializers.make("sqrt-n-normal", seed_for(config.seed, "hidden")),
        name="hidden",
    )(pixels)  # (batch, 300)
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("sqrt-n-normal", seed_for(config.seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(hidden)  # (batch, 10)
    return keras.Model(pixels, logits, name="deck_mlp")
