"""What the layers answer to some rows; this module imports Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from jobs.monitor import function_of, told_apart
from jobs.plots import canvas

ROWS, PICTURES, MAPS, LAYERS = 40, 4, 12, 5
"""Rows in a panel of units, rows and maps in one of maps, and panels."""


def draw(model: keras.Model, x: NDArray[Any], y: NDArray[Any], scale: float, image_shape: Any) -> Any:
    """A panel for each of the first layers: maps as pictures, units as a table; None where layers are hidden."""
    every = told_apart(model)
    curved = {name: layer for name, layer in every.items() if function_of(layer) != "linear"}
    chosen = dict(list((curved or every).items())[:LAYERS])
    if not chosen:
        return None
    rows = np.arange(min(ROWS, len(x)))
    if y.ndim == 1:
        rows = rows[np.argsort(y[rows], kind="stable")]
    outputs = keras.Model(model.inputs, {name: layer.output for name, layer in chosen.items()})
    inputs = ops.cast(ops.convert_to_tensor(x[rows]), model.compute_dtype) * scale
    found = outputs(inputs, training=False)
    answers = {name: np.asarray(ops.convert_to_numpy(ops.cast(found[name], "float32"))) for name in chosen}
    pictures = x[rows].reshape(-1, *image_shape) * scale if image_shape else None
    drawn = canvas.figure(9, sum(_height(values) for values in answers.values()))
    grid = drawn.subplots(len(answers), 1, squeeze=False, height_ratios=[_height(each) for each in answers.values()])
    for axes, (name, values) in zip(grid[:, 0], answers.items(), strict=True):
        if values.ndim == 4:
            _maps(axes, name, values, pictures)
        else:
            _units(drawn, axes, name, values, y[rows] if y.ndim == 1 else None)
    return drawn


def _height(values: NDArray[Any]) -> float:
    return 3.2 if values.ndim == 4 else 2.6


def _maps(axes: Any, name: str, values: NDArray[np.float32], pictures: NDArray[Any] | None) -> None:
    """Some rows' maps, each row of them after the picture itself."""
    rows = np.linspace(0, len(values) - 1, PICTURES).astype(int)
    shown = canvas.each_to_its_own(np.moveaxis(values[rows][..., :MAPS], -1, 1).reshape(-1, *values.shape[1:3], 1))
    mosaic = canvas.side_by_side(shown, min(MAPS, values.shape[-1]))
    canvas.show(axes, mosaic, signed=True)
    axes.set_title(f"{name}: {min(MAPS, values.shape[-1])} of {values.shape[-1]} maps, each on its own scale")
    if pictures is not None:
        beside = axes.inset_axes((-0.14, 0, 0.12, 1))
        canvas.show(beside, canvas.side_by_side(pictures[rows], 1))
        beside.set_anchor("E")


def _units(drawn: Any, axes: Any, name: str, values: NDArray[np.float32], y: NDArray[Any] | None) -> None:
    """Rows down, units across; of a sequence's first row, steps down."""
    table = values[0] if values.ndim == 3 else values
    largest = float(np.abs(table).max()) or 1.0
    image = axes.imshow(table, aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    axes.set_title(name)
    axes.set_xlabel("unit")
    axes.set_ylabel("step of the first row" if values.ndim == 3 else "row")
    if y is not None and values.ndim == 2:
        axes.set_ylabel("row, by its class")
        firsts = np.flatnonzero(np.diff(y, prepend=-1))
        firsts = firsts[np.diff(firsts, append=len(y) + 1) > 1]  # a label needs the height of two rows
        axes.set_yticks(firsts, [str(y[first]) for first in firsts], fontsize=7)
    drawn.colorbar(image, ax=axes, pad=0.01).outline.set_visible(False)
