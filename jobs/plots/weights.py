"""The first layer's weights as the pictures that its units look for: of convolutions, dense layers and RBMs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.plots import canvas

MOST = 100


def first_layer(kernel: NDArray[Any], image_shape: tuple[int, int, int] | None) -> Any:
    """A figure of a kernel (height, width, channels, kernels) or (inputs, units); None where it is no picture."""
    pictures = as_pictures(kernel, image_shape)
    if pictures is None:
        return None
    count = len(pictures)
    strongest = np.sort(np.argsort(-np.linalg.norm(pictures.reshape(count, -1), axis=1), kind="stable")[:MOST])
    columns = min(10, math.ceil(math.sqrt(len(strongest))))
    rows = -(-len(strongest) // columns)
    drawn = canvas.figure(max(4.0, 0.8 * columns), 0.8 * rows + 0.9)
    axes = drawn.subplots()
    image = canvas.show(axes, canvas.side_by_side(canvas.each_to_its_own(pictures[strongest]), columns), signed=True)
    chosen = f"the {len(strongest)} strongest of {count}" if len(strongest) < count else f"all {count}"
    axes.set_title(f"weights of the first layer: {chosen}, each on its own scale")
    bar = drawn.colorbar(image, ax=axes, ticks=[-1, 0, 1], shrink=0.6, aspect=30, location="bottom", pad=0.02)
    bar.ax.set_xticklabels(["its least", "0", "its greatest"])
    bar.outline.set_visible(False)
    return drawn


def as_pictures(kernel: NDArray[Any], image_shape: tuple[int, int, int] | None) -> NDArray[Any] | None:
    """(units, height, width, channels); None where the inputs are no picture, or each unit sees one pixel of it."""
    if kernel.ndim == 4 and kernel.shape[0] * kernel.shape[1] > 1:
        return np.moveaxis(kernel, -1, 0)
    if kernel.ndim == 2 and image_shape and math.prod(image_shape) == len(kernel):
        return np.asarray(kernel.T.reshape(-1, *image_shape))
    return None
