"""What all plots share: figures that need no screen, and pictures side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError
from jobs.files import write_atomically

DOTS_AN_INCH = 120
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart."""
FEW = 20


def figure(width: float, height: float) -> Any:
    """An empty figure, in inches; raises `JobError` where matplotlib is missing."""
    try:
        import matplotlib  # noqa: PLC0415  # wanted for plots alone
        from matplotlib.figure import Figure  # noqa: PLC0415  # likewise
    except ModuleNotFoundError as error:
        raise JobError("matplotlib is not installed: pip install 'gpurun-launcher[plots]'") from error
    matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False})
    matplotlib.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
    return Figure(figsize=(width, height), dpi=DOTS_AN_INCH, layout="constrained")


def save(drawn: Any, path: Path) -> Path:
    """Write it as a PNG, atomically; raises `JobError`."""
    write_atomically(path, lambda file: drawn.savefig(file, format="png", bbox_inches="tight", pad_inches=0.1))
    return path


def lines(axes: Any, title: str, unit: str, *, log: bool = False) -> None:
    """Make `axes` ready for curves over `unit`."""
    axes.set_title(title)
    axes.set_xlabel(unit)
    axes.grid(color="#e0e0e0", linewidth=0.6)
    if log:
        axes.set_yscale("log")


def side_by_side(pictures: NDArray[Any], columns: int) -> NDArray[np.float64]:
    """One picture (height, width, channels) of many (count, height, width, channels), NaN between them."""
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), np.nan)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        whole[top : top + height, left : left + width] = picture
    return whole


def show(axes: Any, picture: NDArray[Any], *, signed: bool = False, limits: tuple[float, float] = (0.0, 1.0)) -> Any:
    """Draw a picture (height, width, channels): grey or coloured; red above 0 and blue below where `signed`."""
    axes.set_axis_off()
    if picture.shape[-1] == 3 and not signed:
        return axes.imshow(np.nan_to_num(picture, nan=1.0).clip(0, 1), interpolation="nearest")
    low, high = (-1.0, 1.0) if signed else limits
    values = np.ma.masked_invalid(picture.mean(axis=-1))
    colours = "RdBu_r" if signed else "gray"
    return axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def each_to_its_own(pictures: NDArray[Any]) -> NDArray[np.float64]:
    """Pictures (count, ..), each divided by its largest value: -1 to 1."""
    largest = np.abs(pictures).reshape(len(pictures), -1).max(axis=1)
    return np.asarray(pictures / np.where(largest > 0, largest, 1).reshape(-1, *[1] * (pictures.ndim - 1)))
