"""A recurrent network: 32 tanh units that read a sequence step by step, then a softmax over its classes.

    h(t) = tanh(W x(t) + U h(t - 1) + b)

Source: deck 4, which trains it by backpropagation through time and warns that its memory does not go far into the
past; deck 0, which pads sequences to one length. Here the padded steps are masked: h stays as it is over them.
On `--data sequences`, where what counts stands at the beginning, its error is 50 to 63 %, that of `lstm` 0 to 0.6 %
(three seeds; 75 % by chance). A picture is read row by row, from the top: `--data digits`.

W is Glorot's, as for any tanh layer; U is a rotation, so that what is remembered neither grows nor fades at first
(Saxe et al., Exact solutions to the nonlinear dynamics of learning, 2014).
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

OPTIONS: Mapping[str, Any] = MappingProxyType({"hidden_units": 32})

SEQUENCES = Settings(epochs=12, batch_size=64, learning_rate=0.003, optimizer="adam", threads=1)

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
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
        "sequences": SEQUENCES,
        "sequence-csv": SEQUENCES,
    }
)


def build(config: Config) -> keras.Model:
    """The network for sequences (40 steps of 6 features), or pictures, that have classes.

    Raises `JobError` for other rows.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.steps import as_steps  # noqa: PLC0415  # likewise

    check_classes(config)
    seed = config.seed
    inputs = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 40, 6)
    steps = as_steps(config, inputs)  # (batch, 40, 6), the padding marked
    last = keras.layers.SimpleRNN(
        config.options["hidden_units"],
        kernel_initializer=initializers.make("glorot", seed_for(seed, "rnn")),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed_for(seed, "rnn/recurrent")),
        name="rnn",
    )(steps)  # (batch, 32), after the last step that is no padding
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(last)  # (batch, 4)
    return keras.Model(inputs, logits, name="rnn")
