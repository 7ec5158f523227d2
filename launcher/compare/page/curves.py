"""Lines over seconds or dollars: each leg's error as its training goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher.compare.page.frame import NARROW, WIDE, Axis, Caption, axes, drawing, margin
from launcher.compare.page.markup import Markup, element, join, path
from launcher.compare.page.palette import marker
from launcher.compare.page.scale import Scale, asks_for_logarithm, drawable, linear, logarithmic
from launcher.compare.page.series import Series
from launcher.render.figures import tick

HEIGHT = 340.0
MOST_MARKS = 24
"""Points of a line that are marked each; of a longer one the last alone."""


def curves(
    lines: Sequence[Series],
    caption: Caption,
    *,
    x_title: str,
    x_label: Callable[[float], str] = tick,
    y_title: str,
    target: float | None = None,
    wide: bool,
) -> Markup:
    """One chart; either axis is logarithmic where its values ask for it, and says so."""
    width = WIDE if wide else NARROW
    points = [point for line in lines for point in line.points]
    levels = [b for _, b in points] + ([target] if target is not None and drawable(target) else [])
    y_scale, y_title = _scale(levels, HEIGHT - 46, 34, y_title, ratio=8)
    y = Axis(scale=y_scale, title=y_title, label=tick)
    x_scale, x_title = _scale([a for a, _ in points], margin(y), width - 14, x_title, from_zero=True)
    x = Axis(scale=x_scale, title=x_title, label=x_label)
    body = join(
        axes(x, y, wide=wide),
        _target(target, x_scale, y_scale),
        *(_line(each, x_scale, y_scale) for each in lines),
    )
    return drawing(body, caption, width=width, height=HEIGHT)


def _scale(
    values: Sequence[float], start: float, end: float, title: str, *, from_zero: bool = False, ratio: float = 30
) -> tuple[Scale, str]:
    positive = [value for value in values if value > 0]
    # A single point at 0 s must not keep the axis from telling 18 s from 5 minutes.
    enough = len(positive) >= len(values) * (0.9 if from_zero else 1)
    if enough and asks_for_logarithm(positive, ratio=ratio):
        return logarithmic(positive, start, end), f"{title}, logarithmic"
    return linear(values, start, end, from_zero=from_zero), title


def _line(line: Series, x: Scale, y: Scale) -> Markup:
    places = [(x.at(max(a, x.low)), y.at(max(b, y.low))) for a, b in line.points]
    name = None if line.faint else element("title", line.name)
    drawn = element("path", d=path(places), class_="curve", stroke_dasharray=line.look.dash)
    marks: list[Markup] = []
    if not line.faint:
        marks = [marker(line.look.marker, *place) for place in (places if len(places) <= MOST_MARKS else places[-1:])]
    return element("g", name, drawn, *marks, class_=f"{line.look.colour} faint" if line.faint else line.look.colour)


def _target(target: float | None, x: Scale, y: Scale) -> Markup | None:
    if target is None or not y.low <= target <= y.high:
        return None
    at = y.at(target)
    return element(
        "g",
        element("line", x1=x.start, y1=at, x2=x.end, y2=at, class_="reference"),
        element("text", f"target {tick(target)}", x=x.end - 2, y=at - 5, text_anchor="end", class_="halo"),
    )
