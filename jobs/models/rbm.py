"""A restricted Boltzmann machine that learns what digits look like, without being told which they are.

Source: deck 4: the gradient of contrastive divergence, one step of the walk (`--set k=1`; the deck goes to 2 to 5
towards the end), or chains that persist, about 100 of them (`--set persistent_chains=100`). Deck 1 stacks such
machines: see `dbn`. Rate, momentum and penalty are after Hinton, A Practical Guide to Training RBMs, 2010.

The error is the cross-entropy of a row and its reconstruction, in nats: deterministic, and a rough guide only. PCD's
is the larger one, though its machine is not worse: what PCD makes better, the chains in the weights file, is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs.catalogue import Settings
from jobs.layers.rows import check_rows

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

OBJECTIVE = "contrastive_divergence"

OPTIONS: Mapping[str, Any] = MappingProxyType({"hidden_units": 500, "k": 1, "persistent_chains": 0})
"""`persistent_chains` 0: the walk starts at the data in each batch (CD-k); else so many chains go on (PCD-k)."""

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(epochs=10, batch_size=100, learning_rate=0.02, optimizer="momentum,momentum=0.8", l2=0.0001),
        "digits": Settings(epochs=30, batch_size=50, learning_rate=0.005, optimizer="momentum,momentum=0.8", l2=0.0001),
    }
)


def build(config: Config) -> keras.Model:
    """The machine for rows of `config.input_shape` (784 pixels of MNIST, 64 of the 8x8 digits), each 0 to 1.

    The network answers the logits of the reconstruction. Raises `JobError` for rows of another shape.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.rbm import RBM  # noqa: PLC0415  # likewise

    check_rows(config)
    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 784)
    machine = RBM(
        config.options["hidden_units"],
        steps=config.options["k"],
        persistent_chains=config.options["persistent_chains"],
        seed=config.seed,
        name="rbm",
    )
    return keras.Model(pixels, machine(pixels), name="rbm_reconstruction")  # (batch, 784)
