"""Charts of lying bars, a row a leg: where the time went, and how many times as fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.compare.page.frame import NARROW, SIGN, WIDE, Axis, Caption, drawing, fitting
from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.scale import Scale, ticks

BAR = 18.0
TOP = 10.0
MOST_BESIDE = 210.0
"""How long names may be to stand to the left of their bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its name, what is drawn in it, given the scale and the bar's upper edge."""

    name: str
    body: Callable[[Scale, float], Markup]
    dim: bool = False
    heading: bool = False
    """A line of words above the rows that belong to it."""


def chart(
    rows: Sequence[Row],
    *,
    caption: Caption,
    axis: Callable[[float, float], Axis],
    end_room: float,
    wide: bool,
    before: Markup | None = None,
) -> Markup:
    """Names to the left where there is room, else above their bars; `end_room` is for what stands behind the bars."""
    width = WIDE if wide else NARROW
    longest = max((len(row.name) for row in rows if not row.heading), default=0)
    beside = wide and longest * SIGN <= MOST_BESIDE
    left = max(longest * SIGN + 14, 60) if beside else 2.0
    x = axis(left, width - end_room)
    parts, at = [], TOP
    for row in rows:
        drawn, at = _row(row, x.scale, at, left if beside else width - 4, width, beside=beside)
        parts.append(drawn)
    grid, height = _grid(x, at, most=7 if wide else 4)
    body = join(before, grid, *parts)
    return drawing(body, caption, width=width, height=height)


def _row(row: Row, scale: Scale, at: float, room: float, width: float, *, beside: bool) -> tuple[Markup, float]:
    kind = "dim" if row.dim else None
    if row.heading:
        text = element("text", element("title", row.name), fitting(row.name, width), x=2, y=at + 12, class_="name")
        return element("g", text, class_=kind), at + 20
    named = (element("title", row.name), fitting(row.name, room - 12))
    if beside:
        name = element("text", *named, x=room - 8, y=at + 13, text_anchor="end")
        bar_at, after = at, at + BAR + 8
    else:
        name = element("text", *named, x=2, y=at + 11)
        bar_at, after = at + 17, at + BAR + 26
    return element("g", name, row.body(scale, bar_at), class_=kind), after


def _grid(x: Axis, bottom: float, most: int) -> tuple[Markup, float]:
    lines, taken = [], float("-inf")
    for value in x.ticks if x.ticks is not None else ticks(x.scale, most):
        at, label = x.scale.at(value), x.label(value)
        half = len(label) * SIGN / 2 + 3
        lines.append(element("line", x1=at, y1=TOP - 6, x2=at, y2=bottom, class_="grid"))
        if at - half >= taken:
            anchor = "start" if at < half else "middle"
            lines.append(element("text", label, x=at if anchor == "middle" else 1, y=bottom + 14, text_anchor=anchor))
            taken = at + half
    title = element("text", x.title, x=x.scale.end, y=bottom + 31, text_anchor="end", class_="title")
    return join(element("g", *lines, class_="ticks"), title), bottom + 38
