"""How a leg is told from another: a colour, a marker and a dash, so that no one of them must be seen.

The colours are Okabe and Ito's, which the colour-blind tell apart; style.css holds them for light and dark pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.compare.page.markup import Markup, element, number
from launcher.domain import Device

COLOURS = 7
MARKERS = ("circle", "square", "triangle", "diamond", "turned", "cross")

PLUS: list[tuple[float, float]] = [(-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)]
PLUS += [(-x, -y) for x, y in PLUS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Of one leg, the same in every chart and in the table."""

    colour: str
    """A class of style.css."""
    marker: str
    dash: str | None
    """For CPUs; `None`: a whole line."""


def style(index: int, device: Device) -> Style:
    """Of the leg at this place of the comparison: no two of the first 42 share both colour and marker."""
    return Style(
        colour=f"c{index % COLOURS}",
        marker=MARKERS[index % len(MARKERS)],
        dash="6 3" if device == Device.CPU else None,
    )


def marker(kind: str, x: float, y: float, size: float = 3.5) -> Markup:
    """A small shape around a point, in the present colour."""
    if kind == "circle":
        return element("circle", cx=x, cy=y, r=size, class_="mark")
    shapes: dict[str, list[tuple[float, float]]] = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "triangle": [(0, -1.25), (1.15, 0.9), (-1.15, 0.9)],
        "diamond": [(0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)],
        "turned": [(0, 1.25), (1.15, -0.9), (-1.15, -0.9)],
        "cross": PLUS,
    }
    points = " ".join(f"{number(x + dx * size)},{number(y + dy * size)}" for dx, dy in shapes[kind])
    return element("polygon", points=points, class_="mark")


def swatch(look: Style) -> Markup:
    """A piece of the leg's line, for legends and the table."""
    line = element("line", x1=1, y1=7, x2=27, y2=7, class_="curve", stroke_dasharray=look.dash)
    drawn = element("g", line, marker(look.marker, 14, 7, 4), class_=look.colour)
    return element("svg", drawn, viewBox="0 0 28 14", width=28, height=14, class_="swatch", aria_hidden="true")


def spaced(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, with `gap` between them, and from `low` to `high` where all fit in there."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [math.nan] * len(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = max(high, low + gap * (len(wanted) - 1))
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
