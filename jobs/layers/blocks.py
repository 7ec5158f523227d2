"""Layers that go together."""

from __future__ import annotations

from typing import Any

import keras

MOMENTUM = 0.9
"""Of the averages that stand for a batch's at prediction; Keras's 0.99 is far behind after an epoch of 60 steps."""


def normalised(linear: keras.layers.Layer, activation: str, inputs: Any) -> Any:
    """`activation(batch_norm(linear(inputs)))`: normalised after the linear layer, before the nonlinearity (deck 3).

    The layers are named after `linear`, as in `hidden`, `hidden_norm`, `hidden_relu`. Make `linear` with no
    activation and `use_bias=False`: normalising takes a bias away, and adds its own. Raises `ValueError` otherwise.
    Source: deck 3; Ioffe and Szegedy, Batch Normalization, ICML 2015.
    """
    if linear.use_bias or linear.activation is not keras.activations.linear:
        raise ValueError(f"{linear.name} has a bias or an activation of its own, before the normalisation")
    normal = keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{linear.name}_norm")(linear(inputs))
    return keras.layers.Activation(activation, name=f"{linear.name}_{activation}")(normal)
