"""Rows of numbers as the pictures that they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.errors import JobError

if TYPE_CHECKING:
    from jobs.config import Config

SMALL_SIDE = 16
"""Below it, two convolutions and two poolings would leave nothing, were each to eat the picture's border."""


def as_pictures(config: Config, pixels: Any) -> Any:
    """`pixels` (batch, 784) as (batch, 28, 28, 1), or whatever `config.image_shape` is.

    Raises `JobError` where the rows are no pictures.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    return keras.layers.Reshape(shape_of(config), name="pictures")(pixels)


def padding_for(config: Config) -> str:
    """How a convolution treats the border: `valid` loses it, and `same`, for small pictures, adds black around."""
    height, width, _ = shape_of(config)
    return "same" if min(height, width) < SMALL_SIDE else "valid"


def check_not_eaten_up(config: Config, windows: Sequence[int], padding: str) -> None:
    """Raise `JobError` where nothing is left of the pictures after convolutions with such windows, each pooled to half.

    `windows` are pixels along a side; `padding` is Keras's word, as in `padding_for`.
    """
    height, width, _ = shape_of(config)
    side = min(height, width)
    for done, window in enumerate(windows):
        side = (side if padding == "same" else side - window + 1) // 2
        if side < 1:
            raise JobError(
                f"{config.model}: nothing is left of pictures of {height}x{width} after {done + 1} convolutions: "
                f"expected kernels for at most {done}"
            )


def shape_of(config: Config) -> tuple[int, int, int]:
    """(height, width, channels); raises `JobError` where the rows are no pictures."""
    if config.image_shape is None:
        raise JobError(f"{config.model} looks at pictures: the rows of these data, {config.input_shape}, are none")
    return config.image_shape
