"""First weights by name, as the decks draw them.

`n_in` and `n_out` are the units before and after; in a convolution, times the pixels of its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs.catalogue import nearest
from jobs.errors import JobError

if TYPE_CHECKING:
    import keras

INITIALIZERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Uniform within +-a, a = sqrt(6 / (n_in + n_out)): for tanh (Glorot and Bengio 2010; decks 2, 3 and 4).
        "glorot": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform"},
        # The same, a four times as wide (16 times the variance): for the sigmoid (deck 4).
        "glorot-sigmoid": {"scale": 16.0, "mode": "fan_avg", "distribution": "uniform"},
        # Uniform within +-1/sqrt(n_in): the old way, under which tanh layers fade out (deck 2).
        "sqrt-n": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
        # Normal with a deviation of 1/sqrt(n_in) (LeCun et al., Efficient BackProp, 1998): `deck-mlp`'s.
        "sqrt-n-normal": {"scale": 1.0, "mode": "fan_in", "distribution": "untruncated_normal"},
    }
)
"""As `keras.initializers.VarianceScaling` is told; a uniform draw within +-a has the variance a^2 / 3."""

ZEROS, SMALL = "zeros", "small"
SMALL_DEVIATION = 0.01
NAMES = (*INITIALIZERS, ZEROS, SMALL)
BY_ACTIVATION = "by-activation"
"""What is `meant_for` the activation that follows: a choice, no initializer of its own."""


def check(name: str) -> None:
    """Raise `JobError` for a name that is none of `NAMES`."""
    if name not in NAMES:
        raise JobError(f"unknown initializer {name!r}{nearest(name, NAMES)}")


def meant_for(activation: str) -> str:
    """Glorot's uniform weights are for tanh; a sigmoid, a quarter as steep at 0, wants them four times as wide."""
    return "glorot-sigmoid" if activation == "sigmoid" else "glorot"


def chosen(name: str, activation: str) -> str:
    """`name`, or where it is `BY_ACTIVATION` the initializer for weights that lead into `activation`."""
    return meant_for(activation) if name == BY_ACTIVATION else name


def make(name: str, seed: int) -> keras.Initializer:
    """The initializer of that name; give each layer a seed of its own (`seeds.seed_for`). Raises `JobError`.

    `zeros` is for the last layer and for biases, where no symmetry needs breaking; `small` is a normal draw with
    a deviation of 0.01, whatever the sizes (both deck 4).
    """
    check(name)
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.first_weights import FirstWeights  # noqa: PLC0415  # likewise

    if name == ZEROS:
        return keras.initializers.Zeros()
    if name == SMALL:
        return FirstWeights(seed, stddev=SMALL_DEVIATION)
    return FirstWeights(seed, **INITIALIZERS[name])
