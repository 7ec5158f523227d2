"""Long short-term memory: 64 units that read a sequence and decide at every step what to keep.

Source: deck 4, on recurrent networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs import initializers
from jobs.catalogue import Settings
from jobs.seeds import seed_for

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

OPTIONS: Mapping[str, Any] = MappingProxyType({"hidden_units": 64})

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=15,
            batch_size=50,
            learning_rate=0.003,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
        ),
        "idx": Settings(
            epochs=8,
            batch_size=128,
            learning_rate=0.002,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
        ),
        "digits": Settings(
            epochs=20,
            batch_size=32,
            learning_rate=0.003,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
        ),
    }
)


def build(config: Config) -> keras.Model:
    """The network for sequences (40 steps of 6 features), or pictures; raises `JobError` for rows that are neither."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.steps import as_steps  # noqa: PLC0415  # likewise

    seed = config.seed
    inputs = keras.Input(config.input_shape)  # (batch, 40, 6)
    steps = as_steps(config, inputs)  # (batch, 40, 6), the padding marked
    last = keras.layers.LSTM(
        config.options["hidden_units"],
        kernel_initializer=initializers.make("glorot", seed_for(seed, "lstm")),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed_for(seed, "lstm/recurrent")),
        name="lstm",
    )(steps)  # (batch, 64), after the last step that is no padding
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(last)  # (batch, 4)
    return keras.Model(inputs, logits, name="lstm")
