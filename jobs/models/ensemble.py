"""An ensemble: several small networks, each trained alone, that answer together.

Source: deck 0, which trains a group of models and averages what they predict, or lets the majority decide, and makes
them differ by the rows (`kind=data-subset`: each on as many rows, drawn with replacement, as `row_share` says) or by
the inputs (`kind=feature-subset`: each sees a share `input_share` of them, the same ones always), or by both. Decks 1
and 4 tell of a committee of 35 convolutional nets that held MNIST's record: `kind=committee` gives each member all
rows and all inputs, and first weights and an order of the rows of its own.
`combine=average` averages the members' probabilities; `combine=vote` counts what each says, and of two classes with as
many votes the lower one wins.

Each member is a multilayer perceptron with one hidden layer. Sources beside the decks: Breiman, Bagging Predictors,
Machine Learning 24, 1996; Ho, The Random Subspace Method, 1998.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs import initializers
from jobs.catalogue import Settings
from jobs.choice import Choice
from jobs.layers.rows import check_classes_of_rows
from jobs.seeds import seed_for
from jobs.stages import Done, Stage

if TYPE_CHECKING:
    import keras

    from jobs.config import Config
    from jobs.datasets.dataset import Dataset

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "members": 5,
        "kind": "data-subset",
        "row_share": 1.0,
        "input_share": 0.5,
        "combine": "average",
        "hidden_units": 300,
        "activation": "relu",
    }
)
BY_ROWS = ("data-subset", "both")
BY_INPUTS = ("feature-subset", "both")

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
            epochs=12,
            batch_size=32,
            learning_rate=0.003,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            threads=1,
        ),
    }
)


def stages(config: Config) -> Sequence[Stage]:
    """Each member's training, then the ensemble, which is put together and judged."""
    members = [_training(config, _name(number)) for number in range(1, config.options["members"] + 1)]
    # Its cost is what its answers cost: the members' penalties have had their say.
    judged = replace(config, epochs=0, early_stopping=Choice("none"), monitor_every=0, print_every=0, l1=0.0, l2=0.0)
    together = Stage(name="ensemble", config=judged, build=build, objective="classification", begin=_gather)
    return [*members, together]


def build(config: Config) -> keras.Model:
    """All members as one network for rows of `config.input_shape`; raises `JobError` for rows of another kind."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.members import Average, Vote  # noqa: PLC0415  # it imports Keras

    check_classes_of_rows(config)
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    names = [_name(number) for number in range(1, config.options["members"] + 1)]
    logits = [_member(config, name, _seed(config, name), pixels) for name in names]  # of (batch, 10) each
    combine = Vote if config.options["combine"] == "vote" else Average
    return keras.Model(pixels, combine(dtype=keras.config.floatx(), name="combined")(logits), name="ensemble")


def _training(config: Config, name: str) -> Stage:
    """One member's own, from a seed of its own."""
    seed = _seed(config, name)
    alone = Stage(
        name=name, config=replace(config, seed=seed), build=partial(_alone, name=name), objective="classification"
    )
    if config.options["kind"] not in BY_ROWS:
        return alone
    return replace(alone, select=partial(_drawn, share=config.options["row_share"], seed=seed))


def _alone(config: Config, name: str) -> keras.Model:
    """One member as a network; its layers are called as they are in the ensemble."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    check_classes_of_rows(config)
    pixels = keras.Input(config.input_shape, dtype=config.floatx)
    return keras.Model(pixels, _member(config, name, config.seed, pixels), name=name)


def _member(config: Config, name: str, seed: int, pixels: Any) -> Any:
    """The logits of one member."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.members import Columns  # noqa: PLC0415  # it imports Keras

    options, prefix, seen = config.options, name.replace("-", "_"), pixels
    if options["kind"] in BY_INPUTS:
        count = max(1, round(options["input_share"] * config.input_shape[0]))
        seen = Columns(count, seed=seed_for(seed, "inputs"), name=f"{prefix}_inputs")(pixels)  # (batch, 392)
    hidden = keras.layers.Dense(
        options["hidden_units"],
        activation=options["activation"],
        kernel_initializer=initializers.make(initializers.meant_for(options["activation"]), seed_for(seed, "hidden")),
        name=f"{prefix}_hidden",
    )(seen)  # (batch, 300)
    return keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(seed, "output")),
        dtype=keras.config.floatx(),
        name=f"{prefix}_output",
    )(hidden)  # (batch, 10)


def _name(number: int) -> str:
    return f"member-{number}"


def _seed(config: Config, name: str) -> int:
    """A member's own: of its weights, its rows and their order, its inputs."""
    return seed_for(config.seed, name)


def _drawn(dataset: Dataset, _done: Done, share: float, seed: int) -> Dataset:
    """So many of the training rows, drawn with replacement; those that it is judged on stay."""
    rows = len(dataset.train_x)
    chosen = np.random.default_rng(seed_for(seed, "rows")).integers(rows, size=max(1, round(share * rows)))
    return replace(dataset, train_x=dataset.train_x[chosen], train_y=dataset.train_y[chosen])


def _gather(model: keras.Model, done: Done) -> None:
    """The members' weights, all in the one network."""
    from jobs import network  # noqa: PLC0415  # it imports Keras

    network.set_weights(model, {path: array for weights in done.values() for path, array in weights.items()})
