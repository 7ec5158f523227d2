"""The nonlinearities between layers, by Keras's names."""

from __future__ import annotations

NAMES = (
    "relu",
    "tanh",
    "sigmoid",
    "linear",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "softsign",
)
