"""The restricted Boltzmann machine: visible and hidden units that are 0 or 1, and no weight within either kind."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from jobs import initializers
from jobs.seeds import seed_for


@keras.saving.register_keras_serializable(package="jobs")
class RBM(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Binary units with the joint probability P(v, h) = exp(v W h + b v + c h) / Z.

    W is `kernel` (visible, hidden), b `visible_bias` (visible,), c `hidden_bias` (hidden,). Rows of visible units are
    0 or 1, or shares between them: a grey pixel is the probability that it is white. With `persistent_chains` the
    layer has that many rows of visible units of its own, `chain` (persistent_chains, visible), all 0 at first.
    As a layer it answers the logits of the reconstruction, (rows, visible) to (rows, visible), without any draw.

    Source: deck 4, whose P has a minus before each of the three terms, while its gradient and everybody's code are
    those of the signs here; Hinton, Training Products of Experts by Minimizing Contrastive Divergence, 2002.
    """

    def __init__(
        self, hidden_units: int, *, steps: int = 1, persistent_chains: int = 0, seed: int, **options: Any
    ) -> None:
        super().__init__(**options)
        self.hidden_units, self.steps, self.persistent_chains = hidden_units, steps, persistent_chains
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed_for(seed, "draws"), name=f"{self.name}_draws")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        visible, hidden = input_shape[-1], self.hidden_units
        start = initializers.make("glorot-sigmoid", seed_for(self.seed, "kernel"))
        self.kernel = self.add_weight(shape=(visible, hidden), initializer=start, name="kernel")
        self.visible_bias = self.add_weight(shape=(visible,), initializer="zeros", name="visible_bias")
        self.hidden_bias = self.add_weight(shape=(hidden,), initializer="zeros", name="hidden_bias")
        self.chain = None
        if self.persistent_chains:
            shape = (self.persistent_chains, visible)
            self.chain = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="chain")

    def call(self, visible: Any) -> Any:
        """The logits of what the machine makes of these rows: hidden units at their means, then back."""
        return self.to_visible(ops.sigmoid(self.to_hidden(visible)))

    def to_hidden(self, visible: Any) -> Any:
        """The logits of P(h = 1 | v), (rows, hidden)."""
        return ops.matmul(visible, self._now(self.kernel)) + self._now(self.hidden_bias)

    def to_visible(self, hidden: Any) -> Any:
        """The logits of P(v = 1 | h), (rows, visible)."""
        return ops.matmul(hidden, ops.transpose(self._now(self.kernel))) + self._now(self.visible_bias)

    def free_energy(self, visible: Any, hidden_logits: Any) -> Any:
        """-log of the sum of P(v, h) Z over all h: -b v - sum of softplus(v W + c), (rows,) float32.

        `hidden_logits` are `to_hidden(visible)`, which the caller has at hand.
        """
        by_bias = ops.matmul(visible, self._now(self.visible_bias)[:, None])[:, 0]
        by_hidden = ops.sum(ops.softplus(_wide(hidden_logits)), axis=-1)
        return -ops.cast(by_bias, by_hidden.dtype) - by_hidden

    def walk(self, hidden_logits: Any) -> tuple[Any, Any]:
        """Draw h, then v, `steps` times over, from where `hidden_logits` are: v (rows, visible) and its own logits."""
        visible = None
        for _ in range(self.steps):
            visible = self._draw(self.to_visible(self._draw(hidden_logits)))
            hidden_logits = self.to_hidden(visible)
        return visible, hidden_logits

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `.keras` files keep."""
        own = ("hidden_units", "steps", "persistent_chains", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def _now(self, variable: Any) -> Any:
        """In the type that is computed in: outside of `call` Keras does not see to it."""
        return ops.cast(variable, self.compute_dtype)

    def _draw(self, logits: Any) -> Any:
        """Ones with these logits' probabilities; no gradient goes through a draw.

        The draw is at least float32 whatever is computed in: bfloat16 knows a probability to two digits.
        """
        probability = ops.sigmoid(_wide(logits))
        chance = keras.random.uniform(ops.shape(logits), dtype="float32", seed=self.seed_generator)
        return ops.stop_gradient(ops.cast(chance < ops.cast(probability, "float32"), logits.dtype))


def _wide(logits: Any) -> Any:
    """As float32, where they are half as wide."""
    half = keras.backend.standardize_dtype(logits.dtype) in {"bfloat16", "float16"}
    return ops.cast(logits, "float32") if half else logits
