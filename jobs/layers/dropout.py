"""Dropout as the first deck has it: off while training, scaled down at prediction."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="jobs")
class PKeepDropout(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Keep each unit with probability `p_keep` in training; multiply all by `p_keep` at prediction.

    Keras's own `Dropout(1 - p_keep)` is the inverted form (deck 2): it divides what is kept by `p_keep` in training
    and leaves prediction alone. Both agree in the mean, and differ in scale: here a layer learns from undivided
    activations, so the same learning rate is a smaller step. Shapes: any, kept as it is.
    Source: deck 0 (p_keep 0.8 for inputs, 0.5 for hidden layers); Srivastava et al., JMLR 15, 2014.
    Raises `ValueError` unless 0 < p_keep <= 1.
    """

    def __init__(self, p_keep: float, *, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.p_keep, self.seed = checked(p_keep), seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Any, *, training: bool = False) -> Any:
        """`inputs` of any shape, masked or scaled."""
        if not training:
            return inputs * self.p_keep
        return inputs * bernoulli(ops.shape(inputs), self.p_keep, inputs.dtype, self.seed_generator)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `.keras` files keep."""
        return {**super().get_config(), "p_keep": self.p_keep, "seed": self.seed}


def bernoulli(shape: Any, p_keep: float, dtype: Any, seed: keras.random.SeedGenerator) -> Any:
    """Ones with probability `p_keep`, else zeros.

    The draw is float32 whatever the layer computes in: bfloat16 knows p_keep to two digits.
    """
    return ops.cast(keras.random.uniform(shape, dtype="float32", seed=seed) < p_keep, dtype)


def checked(p_keep: float) -> float:
    """`p_keep`; raises `ValueError` where it is no probability, or zero."""
    if not 0 < p_keep <= 1:
        raise ValueError(f"p_keep is {p_keep}: expected more than 0 and at most 1")
    return float(p_keep)
