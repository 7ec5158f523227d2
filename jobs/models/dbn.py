"""Deep belief network: three layers of 1000 sigmoid units, each first trained alone as a Boltzmann machine.

Source: deck 1, 784-1000-1000-1000-10 on MNIST: 1.34 % of test errors after 100 epochs of pre-training a layer (10 hours
on four cores) and 46 of fine-tuning, chosen by early stopping. Here CD-1 for 8 epochs a layer, each on the means of the
layer below, then Adam with warm-up and cosine for 12, digits shifted by up to a pixel.
`--set pretraining_epochs=0` is the ablation: the same network from the first weights that its machines would have had.

Sources: Hinton, Osindero and Teh, A Fast Learning Algorithm for Deep Belief Nets, 2006; Hinton's practical guide, 2010
(momentum from 0.5 to 0.9, weight decay 0.0002, which is twice the factor of the squares' sum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.catalogue import Settings
from jobs.choice import Choice
from jobs.layers.rows import check_classes_of_rows
from jobs.models import rbm
from jobs.seeds import seed_for
from jobs.stages import Done, Stage

if TYPE_CHECKING:
    import keras

    from jobs.config import Config
    from jobs.datasets.dataset import Dataset

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"hidden_units": (1000, 1000, 1000), "pretraining_epochs": 8, "pretraining_rate": 0.05, "k": 1}
)

PLAIN = Settings(epochs=12, batch_size=128, learning_rate=0.001, optimizer="adam", schedule="cosine")
DIGITS = replace(PLAIN, augment="shift")
"""Pictures of digits are moved by a pixel while the whole network is trained; the machines see them as they are."""

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": PLAIN,
        "idx": DIGITS,
        "mnist-pickle": DIGITS,
        "kaggle": DIGITS,
        "digits": Settings(epochs=20, batch_size=40, learning_rate=0.003, optimizer="adam", schedule="cosine"),
    }
)

ROWS_AT_ONCE = 512
"""How many rows go up to the next machine at a time."""


def stages(config: Config) -> Sequence[Stage]:
    """A machine for each hidden layer, then the whole network."""
    options = config.options
    whole = Stage(name="fine-tuning", config=config, build=build, objective="classification", begin=_stack)
    if not options["pretraining_epochs"]:
        return [whole]
    return [*(_machine(config, layer) for layer in range(len(options["hidden_units"]))), whole]


def build(config: Config) -> keras.Model:
    """The network for rows of `config.input_shape`; it answers logits. Raises `JobError` for rows of another kind."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs import initializers  # noqa: PLC0415  # beside it

    check_classes_of_rows(config)
    hidden = pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    for layer, units in enumerate(config.options["hidden_units"]):
        start = initializers.make("glorot-sigmoid", seed_for(_seed(config, layer), "kernel"))
        name = f"hidden_{layer + 1}"
        hidden = keras.layers.Dense(units, activation="sigmoid", kernel_initializer=start, name=name)(hidden)
    logits = keras.layers.Dense(
        config.outputs,
        kernel_initializer=initializers.make("glorot", seed_for(config.seed, "output")),
        dtype=keras.config.floatx(),
        name="output",
    )(hidden)  # (batch, 10)
    return keras.Model(pixels, logits, name="dbn")


def _machine(config: Config, layer: int) -> Stage:
    """The pre-training of one layer, on the means of the layer below it."""
    options = config.options
    settings = replace(
        config,
        options={"hidden_units": options["hidden_units"][layer], "k": options["k"], "persistent_chains": 0},
        seed=_seed(config, layer),
        epochs=options["pretraining_epochs"],
        learning_rate=options["pretraining_rate"],
        optimizer=Choice("momentum", {"momentum": 0.5}),
        schedule=Choice("constant"),
        momentum_schedule=Choice("linear", {"stop": 0.9}),
        early_stopping=Choice("none"),
        reduction="mean",
        penalty="sum",
        penalised="kernels",
        l1=0.0,
        l2=0.0001,
        augment="none",
        print_every=0,
    )
    select = partial(_above, layers=layer)
    return Stage(name=_name(layer), config=settings, build=_alone, objective=rbm.OBJECTIVE, select=select)


def _alone(config: Config) -> keras.Model:
    """One machine; raises `JobError` for rows that the whole network cannot take, before any pre-training."""
    check_classes_of_rows(config)
    return rbm.build(config)


def _name(layer: int) -> str:
    return f"rbm-{layer + 1}"


def _seed(config: Config, layer: int) -> int:
    """A layer's own: machines of one shape would otherwise start alike, and see the rows in the same order."""
    return seed_for(config.seed, _name(layer))


def _above(dataset: Dataset, done: Done, layers: int) -> Dataset:
    """The rows as they come out of so many layers: the hidden units' means, float32."""
    if not layers:
        return dataset
    weights = [(done[_name(n)]["rbm/kernel"], done[_name(n)]["rbm/hidden_bias"]) for n in range(layers)]
    train_x, test_x = (_means(x, dataset.scale, weights) for x in (dataset.train_x, dataset.test_x))
    valid_x = None if dataset.valid_x is None else _means(dataset.valid_x, dataset.scale, weights)
    return replace(dataset, train_x=train_x, test_x=test_x, valid_x=valid_x, scale=1.0, image_shape=None)


def _means(x: NDArray[Any], scale: float, weights: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[np.float32]:
    """Some rows at a time, so that no layer in between is there as a whole."""
    means = np.empty((len(x), weights[-1][0].shape[1]), np.float32)
    for first in range(0, len(x), ROWS_AT_ONCE):
        rows = x[first : first + ROWS_AT_ONCE].astype(np.float32) * np.float32(scale)
        for kernel, bias in weights:
            rows = np.tanh((rows @ kernel + bias) / 2) / 2 + np.float32(0.5)  # the sigmoid; exp would overflow
        means[first : first + ROWS_AT_ONCE] = rows
    return means


def _stack(model: keras.Model, done: Done) -> None:
    """The machines' weights as the first weights of the layers."""
    for layer in range(len(done)):
        found = done[_name(layer)]
        model.get_layer(f"hidden_{layer + 1}").set_weights([found["rbm/kernel"], found["rbm/hidden_bias"]])
