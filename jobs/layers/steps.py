"""Rows as sequences, step by step: those of a data set of sequences, or a picture from its top row to its bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.datasets.sequences import PADDING
from jobs.errors import JobError

if TYPE_CHECKING:
    from jobs.config import Config


def as_steps(config: Config, inputs: Any) -> Any:
    """`inputs` as (batch, steps, features), where a recurrent layer leaves out the steps that are padding.

    Sequences (batch, 40, 6) stay as they are, and a step with `PADDING` in every feature is none. Pictures
    (batch, 784) become a step for each row of pixels, (batch, 28, 28). Raises `JobError` for rows that are neither.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    if len(config.input_shape) == 2:
        return keras.layers.Masking(mask_value=PADDING, name="steps")(inputs)
    if config.image_shape is None:
        raise JobError(
            f"{config.model} reads sequences, or pictures row by row: "
            f"the rows of these data, {config.input_shape}, are neither"
        )
    height, width, channels = config.image_shape
    return keras.layers.Reshape((height, width * channels), name="steps")(inputs)
