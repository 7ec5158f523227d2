"""Learning curves and the layers' monitors, from metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobs.errors import JobError
from jobs.outputs import METRICS
from jobs.plots import canvas

Course = list[tuple[float, float]]
"""(step or epoch, value), as they were written."""
COST, HELD_OUT = "cost", "validation_"
ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "error": "error, share of the rows",
        "rmse": "root mean square error",
        "reconstruction": "reconstruction, nats",
    }
)
WELL = 1000
"""The ratio of weights to updates in a healthy training (deck 2)."""

PANELS: tuple[tuple[str, str, bool], ...] = (
    ("weights_to_updates", "weights / updates of one step", True),
    ("update_max", "largest update of one step", True),
    ("weight_max", "largest weight", True),
    ("gradient_std", "gradients: standard deviation", True),
    ("gradient_mean", "gradients: mean", False),
    ("activation_std", "activations: standard deviation", True),
    ("activation_mean", "activations: mean", False),
    ("saturated", "saturated outputs, tanh and sigmoid, %", False),
    ("dead", "dead units, ReLU, %", False),
)
"""What is monitored, the panel's title, and whether its axis is logarithmic."""


def read(folder: Path) -> list[Mapping[str, Any]]:
    """The lines of metrics.jsonl; raises `JobError` where it is missing or broken."""
    path = folder / METRICS
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise JobError(f"cannot read {path}: {error}") from error
    if any(not {"step", "epoch", "name", "value"} <= dict(line).keys() for line in found):
        raise JobError(f"{path} has a line without step, epoch, name or value")
    return found


def courses(metrics: Iterable[Mapping[str, Any]], over: str) -> dict[tuple[str, str], Course]:
    """By what it is of (a stage, a layer, or nothing) and its name: how each value went `over` step or epoch."""
    found: dict[tuple[str, str], Course] = {}
    for line in metrics:
        place, _, name = line["name"].rpartition("/")
        found.setdefault((place, name), []).append((line[over], line["value"]))
    return found


def learning(metrics: Iterable[Mapping[str, Any]]) -> Any:
    """Cost and error over the steps, a row for each stage; None where nothing was judged."""
    found = courses(metrics, "step")
    stages = list(dict.fromkeys(place for place, name in found if name == COST))
    if not stages:
        return None
    drawn = canvas.figure(9, 3.2 * len(stages))
    for axes, stage in zip(drawn.subplots(len(stages), 2, squeeze=False), stages, strict=True):
        error = next((name for name in ERRORS if (stage, name) in found), "error")
        for panel, name, title in ((axes[0], COST, "cost"), (axes[1], error, ERRORS[error])):
            canvas.lines(panel, f"{stage}: {title}" if stage else title, "step")
            for colour, prefix, label in zip(
                canvas.COLOURS, ("", HELD_OUT), ("test rows", "rows held out"), strict=False
            ):
                if course := found.get((stage, prefix + name)):
                    panel.plot(*zip(*course, strict=True), color=colour, linewidth=1.4, label=label)
            panel.set_ylim(bottom=0 if name == "error" else None)
            panel.legend()
    return drawn


def layers(metrics: Iterable[Mapping[str, Any]]) -> Any:
    """What the monitor saw over the epochs; None where it did not look."""
    found = courses(metrics, "epoch")
    panels = [panel for panel in PANELS if any(name == panel[0] for _, name in found)]
    if not panels:
        return None
    places = list(dict.fromkeys(place for place, name in found if name in {panel[0] for panel in panels}))
    rows = -(-len(panels) // 2)
    drawn = canvas.figure(9, 2.8 * rows + 0.22 * len(places))
    grid = drawn.subplots(rows, 2, squeeze=False).ravel()
    for axes, (what, title, log) in zip(grid, panels, strict=False):
        canvas.lines(axes, title, "epoch", log=log)
        for number, place in enumerate(places):
            if (place, what) in found:
                _draw(axes, found, place, what, number)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = [_key(place, number) for number, place in enumerate(places)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=min(4, len(places)))
    return drawn


def _draw(axes: Any, found: Mapping[tuple[str, str], Course], place: str, what: str, number: int) -> None:
    epochs, values = zip(*found[place, what], strict=True)
    share = 100 if what in {"saturated", "dead"} else 1
    axes.plot(epochs, [share * value for value in values], **_style(number))
    if what == "weights_to_updates" and number == 0:
        axes.axhline(WELL, color="black", linewidth=0.8, linestyle=":")
    if share == 100:
        axes.set_ylim(-3, 103)


def _style(number: int) -> dict[str, Any]:
    """A colour for each; where there are more than colours, another kind of line."""
    again, colour = divmod(number, len(canvas.COLOURS))
    return {"color": canvas.COLOURS[colour], "linestyle": ("-", "--", ":", "-.")[again % 4], "linewidth": 1.4}


def _key(place: str, number: int) -> Any:
    from matplotlib.lines import Line2D  # noqa: PLC0415  # `canvas.figure` has seen to it that it is there

    return Line2D([], [], label=place, **_style(number))
