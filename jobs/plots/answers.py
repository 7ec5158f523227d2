"""Where a network is right and wrong: the confusion matrix, the worst rows, and an RBM's reconstructions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import key_points
from jobs.plots import canvas

WORST, WORST_FACES = 30, 12
RECONSTRUCTED = 12


def confusion(truth: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> Any:
    """Which class was taken for which: counts, coloured by the share of the true class."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, answers), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.5 * classes + 1.5)
    drawn = canvas.figure(side, side)
    axes = drawn.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    wrong = int(counts.sum() - np.trace(counts))
    axes.set_title(f"{wrong:,} of {len(truth):,} rows wrong")
    if classes <= canvas.FEW:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        for row, column in np.argwhere(counts):
            dark = shares[row, column] > 0.5
            text = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if dark else "black"}
            axes.text(column, row, f"{counts[row, column]}", **text)
    return drawn


def worst_classes(
    pictures: NDArray[Any], truth: NDArray[np.int64], answers: NDArray[np.int64], chances: NDArray[np.float64]
) -> Any:
    """The rows whose class seemed least likely, as pictures (rows, height, width, channels) of 0 to 1; None: none."""
    of_truth = chances[np.arange(len(truth)), truth]
    order = np.argsort(of_truth, kind="stable")
    chosen = order[(answers != truth)[order]][:WORST]
    if not chosen.size:
        return None
    columns = min(6, len(chosen))
    rows = -(-len(chosen) // columns)
    drawn = canvas.figure(max(4.0, 1.25 * columns), 1.5 * rows + 0.5)
    drawn.suptitle("worst errors: the true class, the answer, and its probability")
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes, row in zip(grid, chosen, strict=False):
        canvas.show(axes, pictures[row])
        said = f"{truth[row]}, not {answers[row]} ({chances[row, answers[row]]:.0%})"
        axes.set_title(said, fontsize=8, pad=2)
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    return drawn


def worst_faces(pictures: NDArray[Any], truth: NDArray[Any], answers: NDArray[Any], targets: tuple[str, ...]) -> Any:
    """The faces whose known points were missed by most; targets and answers (rows, targets) as a network has them."""
    true, answered = key_points.to_pixels(truth), key_points.to_pixels(answers)
    distance = np.sqrt(np.nanmean(np.where(np.isnan(true).all(axis=1, keepdims=True), 0, true - answered) ** 2, axis=1))
    chosen = np.argsort(-distance, kind="stable")[:WORST_FACES]
    drawn = canvas.figure(9, 2.5 * -(-len(chosen) // 4) + 0.6)
    grid = drawn.subplots(-(-len(chosen) // 4), 4, squeeze=False).ravel()
    across = [column for column, name in enumerate(targets) if name.endswith("_x")]
    down = [column for column, name in enumerate(targets) if name.endswith("_y")]
    for axes, row in zip(grid, chosen, strict=False):
        canvas.show(axes, pictures[row])
        for places, mark, colour, label in ((true, "+", "#00d070", "marked"), (answered, "x", "#ff4030", "answered")):
            axes.scatter(places[row, across], places[row, down], s=22, marker=mark, c=colour, linewidths=1, label=label)
        axes.set_title(f"{distance[row]:.1f} pixels", fontsize=8, pad=2)
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=2)
    return drawn


def reconstructions(pictures: NDArray[Any], rebuilt: NDArray[Any]) -> Any:
    """Rows, and what an RBM makes of them, both (rows, height, width, channels) of 0 to 1."""
    count = min(RECONSTRUCTED, len(pictures))
    drawn = canvas.figure(0.8 * count, 2.4)
    axes = drawn.subplots()
    both = np.concatenate([pictures[:count], rebuilt[:count]])
    canvas.show(axes, canvas.side_by_side(both, count))
    axes.set_title("rows, and their reconstructions below")
    return drawn
