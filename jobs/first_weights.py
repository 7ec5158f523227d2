"""First weights that hang on the seed alone: the same for every backend, device and floatx.

Keras draws with its backend's generator, in the layer's type: TensorFlow, JAX and PyTorch draw different numbers,
PyTorch others on a GPU than on a CPU, and float64 others than float32. Trainings that begin elsewhere end elsewhere,
and nobody can tell whether two devices computed the same. So the numbers are NumPy's, rounded to float32.

This module imports Keras: only after `runtime.start`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray


@keras.saving.register_keras_serializable(package="jobs")
class FirstWeights(keras.initializers.Initializer):  # type: ignore[misc]  # Keras has no types
    """A uniform or normal draw of mean 0."""

    def __init__(self, seed: int, stddev: float | None = None, **scaling: Any) -> None:
        """With that deviation, else scaled as `keras.initializers.VarianceScaling` is told."""
        self.seed, self.stddev, self.scaling = seed, stddev, scaling

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """A tensor of that shape, in that type or the default one."""
        values = ops.convert_to_tensor(self.draw(tuple(shape)), dtype="float32")
        return ops.cast(values, keras.backend.standardize_dtype(dtype))

    def draw(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The numbers."""
        random = np.random.default_rng(self.seed)
        if self.stddev is not None:
            return random.normal(0.0, self.stddev, shape).astype(np.float32)
        deviation = math.sqrt(self.scaling["scale"] / max(1.0, _fan(shape, self.scaling["mode"])))
        if self.scaling["distribution"] == "uniform":
            limit = math.sqrt(3) * deviation
            return random.uniform(-limit, limit, shape).astype(np.float32)
        return random.normal(0.0, deviation, shape).astype(np.float32)

    def plain(self) -> keras.Initializer:
        """Keras's own initializer of that distribution, for a network that is to be opened without this package."""
        if self.stddev is not None:
            return keras.initializers.RandomNormal(stddev=self.stddev, seed=self.seed)
        return keras.initializers.VarianceScaling(**self.scaling, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        """What it is made anew from, such as the second half of a bidirectional layer."""
        return {"seed": self.seed, "stddev": self.stddev, **self.scaling}


def made_plain(model: keras.Model) -> None:
    """Have every layer name Keras's own initializer; the weights stay."""
    for layer in model._flatten_layers():  # the only way to those within others
        for name, value in list(vars(layer).items()):
            if isinstance(value, FirstWeights):
                setattr(layer, name, value.plain())


def _fan(shape: tuple[int, ...], mode: str) -> float:
    """The units before (`fan_in`), or the mean of those before and after; in a convolution times its window."""
    window = math.prod(shape[:-2])
    before, after = shape[-2] * window, shape[-1] * window
    return before if mode == "fan_in" else (before + after) / 2
