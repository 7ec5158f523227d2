"""A multilayer perceptron of as many layers as you like, with the decks' ways to start, drop and normalise.

`--set hidden_units=300,100` are its layers, none of them for `hidden_units=`. `initializer` is how the first weights
are drawn: by-activation (glorot-sigmoid where `activation` is the sigmoid, else glorot), glorot, glorot-sigmoid (four
times as wide, for the sigmoid), sqrt-n (the old way), sqrt-n-normal, small (0.01 times a normal draw, deck 4's for its
hidden layer) or zeros (deck 4's for its last layer; hidden units that begin alike stay alike, it warns: try it).
`batch_norm=true` normalises each hidden layer over the batch, before its nonlinearity (deck 3).

`dropout_kind` says what `dropout` (of hidden units) and `input_dropout` (of inputs) leave out:
- inverted: what stays is divided by the share that stays, and prediction is left alone (deck 2, and Keras);
- p-keep: what stays is left alone, and at prediction everything is multiplied by that share (decks 0 and 3);
- dropconnect: weights are left out instead of units, one choice for the whole batch, and at prediction all weights are
  multiplied by the share that stays; `dropout` is then of the weights into each layer, the last one too, which in
  deck 4 is the only one (`hidden_units=`), and `input_dropout`, of inputs, is as with p-keep.

Sources: decks 0, 2, 3 and 4; Srivastava et al., Dropout, JMLR 15, 2014; Wan et al., Regularization of Neural Networks
using DropConnect, ICML 2013; Ioffe and Szegedy, Batch Normalization, ICML 2015.
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
    {
        "hidden_units": (300, 100),
        "activation": "relu",
        "initializer": initializers.BY_ACTIVATION,
        "dropout_kind": "inverted",
        "input_dropout": 0.0,
        "dropout": 0.25,
        "batch_norm": False,
    }
)

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=20,
            batch_size=128,
            learning_rate=0.002,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
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
    """The network for rows of `config.input_shape`; raises `JobError` for rows of another kind."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    check_classes_of_rows(config)
    options = config.options
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    units = _dropped(config, "input", options["input_dropout"], pixels)
    for number, count in enumerate(options["hidden_units"], start=1):
        name = f"hidden_{number}"
        units = _layer(config, name, count, units)  # (batch, 300), then (batch, 100)
        if options["dropout_kind"] != "dropconnect":
            units = _dropped(config, name, options["dropout"], units)
    output = _linear(config, "output", config.outputs, before="linear", dtype=keras.config.floatx())
    logits = output(units)  # (batch, 10)
    return keras.Model(pixels, logits, name="layered_mlp")


def _layer(config: Config, name: str, units: int, inputs: Any) -> Any:
    """(batch, inputs) through weights and nonlinearity, the normalisation between them where it is asked for."""
    from jobs.layers.blocks import normalised  # noqa: PLC0415  # it imports Keras

    activation = config.options["activation"]
    if not config.options["batch_norm"]:
        return _linear(config, name, units, before=activation, activation=activation)(inputs)
    return normalised(_linear(config, name, units, before=activation, use_bias=False), activation, inputs)


def _linear(config: Config, name: str, units: int, before: str, **given: Any) -> keras.layers.Layer:
    """The dense layer `before` an activation; its weights are left out in training where `dropout_kind` says so."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.dropconnect import DropConnect  # noqa: PLC0415  # it imports Keras

    options = config.options
    kind = initializers.chosen(options["initializer"], before)
    given |= {"kernel_initializer": initializers.make(kind, seed_for(config.seed, name)), "name": name}
    if options["dropout_kind"] != "dropconnect":
        return keras.layers.Dense(units, **given)
    seed = seed_for(config.seed, f"{name}_weights_kept")
    return DropConnect(units, p_keep=1 - options["dropout"], seed=seed, **given)


def _dropped(config: Config, of: str, share: float, units: Any) -> Any:
    """`units`, a `share` of them left out at each step, as `dropout_kind` has it."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.dropout import PKeepDropout  # noqa: PLC0415  # it imports Keras

    kind, name = config.options["dropout_kind"], f"{of}_dropout"
    if kind == "none" or not share:
        return units
    seed = seed_for(config.seed, name)
    if kind == "inverted":
        return keras.layers.Dropout(share, seed=seed, name=name)(units)
    return PKeepDropout(1 - share, seed=seed, name=name)(units)
