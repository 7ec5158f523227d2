"""The frame of a chart: its place on the paper, axes, ticks, grid and titles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.scale import Scale, ticks
from launcher.render.figures import shorten

SIGN = 7.2
"""Width of a sign of the charts' type, in their units: a wide one, so that labels do not collide."""
TICKS = 7
"""At most, on a standing axis."""
WIDE, NARROW = 560, 340
"""Every chart is drawn twice, and the page shows the one that fits: a drawing that shrinks takes its words along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: its scale, how its ticks are written, what it is called."""

    scale: Scale
    title: str
    label: Callable[[float], str]
    ticks: tuple[float, ...] | None = None
    """`None`: round ones."""


def axes(x: Axis, y: Axis, *, wide: bool) -> Markup:
    """Grid, ticks and titles of both; the title of y stands above it, where it can be read without turning the head."""
    left, right = x.scale.start, x.scale.end
    bottom, top = y.scale.start, y.scale.end
    rows = [
        join(
            element("line", x1=left, y1=at, x2=right, y2=at, class_="grid"),
            element("text", label, x=left - 7, y=at + 4, text_anchor="end"),
        )
        for at, label in _spread_out(y, TICKS, vertical=True)
    ]
    columns = [
        join(
            element("line", x1=at, y1=bottom, x2=at, y2=bottom + 5, class_="axis"),
            element("text", label, x=min(at, right + 12 - len(label) * SIGN / 2), y=bottom + 18, text_anchor="middle"),
        )
        for at, label in _spread_out(x, 8 if wide else 5)
    ]
    return join(
        element("g", *rows, *columns, class_="ticks"),
        element("line", x1=left, y1=bottom, x2=right, y2=bottom, class_="axis"),
        element("text", y.title, x=0, y=top - 12, class_="title"),
        element("text", x.title, x=right, y=bottom + 36, text_anchor="end", class_="title"),
    )


def _spread_out(axis: Axis, most: int, *, vertical: bool = False) -> list[tuple[float, str]]:
    """Where which label stands; those that would touch the one before are left out."""
    found: list[tuple[float, str]] = []
    taken: float | None = None
    for value in axis.ticks if axis.ticks is not None else ticks(axis.scale, most):
        at, label = axis.scale.at(value), axis.label(value)
        half = 7.0 if vertical else len(label) * SIGN / 2 + 3
        near = at - half if not vertical else -at - half
        if taken is None or near >= taken:
            found.append((at, label))
            taken = near + 2 * half
    return found


def margin(y: Axis) -> float:
    """Room to the left that the labels of y need."""
    return max((len(y.label(value)) for value in ticks(y.scale, TICKS)), default=1) * SIGN + 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What a chart is called, and what a screen reader says instead of it."""

    ident: str
    """Unique in the page."""
    title: str
    description: str


def drawing(body: Markup, caption: Caption, *, width: float, height: float) -> Markup:
    """The SVG around a chart."""
    ident = caption.ident
    return element(
        "svg",
        element("title", caption.title, id=f"{ident}-title"),
        element("desc", caption.description, id=f"{ident}-desc"),
        body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
        class_="wide" if width == WIDE else "narrow",
    )


def fitting(text: str, width: float) -> str:
    """As much of a name as there is room for."""
    return shorten(text, max(int(width / SIGN), 3))
