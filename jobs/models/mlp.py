"""A multilayer perceptron: one hidden layer of 500 units between the pixels and a softmax over ten digits.

Source: deck 1, whose network has 500 tanh units and ends, after 828 epochs and 97 minutes, at 1.65 % of errors, and
which tries smaller layers: 10 units 6.8 %, 20 units 3.96 %, 40 units 2.9 %, 100 units 2.26 %, each after 100 epochs.
Deck 4 has 20 tanh units. `--set hidden_units=20 --set activation=tanh` is theirs; add `--set input_dropout=0` and
`--set dropout=0`, since neither drops any, and so few units can spare none.

By default the units are ReLU, and dropout (Srivastava et al., JMLR 15, 2014) leaves out a fifth of the pixels and half
of the units at each step, another choice for every row: no unit can rely on another's mistakes.
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

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"hidden_units": 500, "activation": "relu", "input_dropout": 0.2, "dropout": 0.5}
)

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=30,
            batch_size=128,
            learning_rate=0.002,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
        ),
        "digits": Settings(
            epochs=30,
            batch_size=32,
            learning_rate=0.003,
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
    options, seed = config.options, config.seed
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    kept = keras.layers.Dropout(options["input_dropout"], seed=seed_for(seed, "input_dropout"), name="input_dropout")(
        pixels
    )  # (batch, 784), a fifth of them 0 in training
    hidden = keras.layers.Dense(
        options["hidden_units"],
        activation=options["activation"],
        kernel_initializer=initializers.make(initializers.meant_for(options["activation"]), seed_for(seed, "hidden")),
        name="hidden",
    )(kept)  # (batch, 500)
    hidden = keras.layers.Dropout(options["dropout"], seed=seed_for(seed, "dropout"), name="dropout")(hidden)
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(hidden)  # (batch, 10)
    return keras.Model(pixels, logits, name="mlp")
