"""Lines over seconds or dollars: each leg's error as its training goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher.compare.page.frame import NARROW, SIGN, WIDE, Axis, Caption, axes, drawing, fitting
from launcher.compare.page.markup import Markup, element, join, number
from launcher.compare.page.palette import marker, spaced
from launcher.compare.page.scale import Scale, asks_for_logarithm, drawable, linear, logarithmic
from launcher.compare.page.series import Series
from launcher.render.figures import figure

HEIGHT = 340.0
MOST_LABELS = 8
"""Lines that are labelled at their ends; more have a legend."""
MOST_MARKS = 24
"""Points of a line that are marked each; of a longer one the last alone."""
LABEL_GAP = 15.0


def curves(
    lines: Sequence[Series],
    caption: Caption,
    *,
    x_title: str,
    x_label: Callable[[float], str] = figure,
    y_title: str,
    target: float | None = None,
    wide: bool,
) -> Markup:
    """One chart; either axis is logarithmic where its values ask for it, and says so."""
    labelled = wide and labels_fit(lines)
    width = WIDE if wide else NARROW
    right = width - (_label_width(lines) if labelled else 14)
    points = [point for line in lines for point in line.points]
    x, x_title = _scale([a for a, _ in points], 52, right, x_title, from_zero=True, most_ticks=8 if wide else 5)
    levels = [b for _, b in points] + ([target] if target is not None and drawable(target) else [])
    y, y_title = _scale(levels, HEIGHT - 46, 34, y_title, from_zero=False, most_ticks=6)
    body = join(
        axes(Axis(scale=x, title=x_title, label=x_label), Axis(scale=y, title=y_title, label=figure), wide=wide),
        _target(target, x, y),
        *(_line(each, x, y) for each in lines),
        _labels(lines, x, y, width) if labelled else None,
    )
    return drawing(body, caption, width=width, height=HEIGHT)


def labels_fit(lines: Sequence[Series]) -> bool:
    """Whether the wide chart names its lines itself."""
    return sum(not line.faint for line in lines) <= MOST_LABELS


def _scale(
    values: Sequence[float], start: float, end: float, title: str, *, from_zero: bool, most_ticks: int
) -> tuple[Scale, str]:
    positive = [value for value in values if value > 0]
    # A single point at 0 s must not keep the axis from telling 18 s from 5 minutes.
    enough = len(positive) >= len(values) * 0.9 if from_zero else len(positive) == len(values)
    if enough and asks_for_logarithm(positive):
        return logarithmic(positive, start, end), f"{title}, logarithmic"
    return linear(values, start, end, from_zero=from_zero, most_ticks=most_ticks), title


def _line(line: Series, x: Scale, y: Scale) -> Markup:
    places = [(x.at(max(a, x.low)), y.at(max(b, y.low))) for a, b in line.points]
    path = "M" + "L".join(f"{number(a)} {number(b)}" for a, b in places)
    name = None if line.faint else element("title", line.name)
    drawn = element("path", d=path, class_="curve", stroke_dasharray=line.look.dash)
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
        element("text", f"target {figure(target)}", x=x.end - 2, y=at - 5, text_anchor="end", class_="halo"),
    )


def _label_width(lines: Sequence[Series]) -> float:
    longest = max((len(line.name) for line in lines), default=0)
    return min(max(longest * SIGN + 20, 60), 170)


def _labels(lines: Sequence[Series], x: Scale, y: Scale, width: float) -> Markup:
    """Each line's name beside its end, no two on one another, with a thread to the end where they had to move."""
    named = [line for line in lines if not line.faint]
    ends = [(x.at(line.points[-1][0]), y.at(line.points[-1][1])) for line in named]
    heights = spaced([at for _, at in ends], LABEL_GAP, y.end + 4, y.start)
    edge = x.end + 10
    parts = []
    for line, (end, level), height in zip(named, ends, heights, strict=True):
        parts.append(
            element(
                "g",
                element(
                    "path", d=f"M{number(end + 5)} {number(level)}L{number(edge - 2)} {number(height)}", class_="thread"
                ),
                element("text", fitting(line.name, width - edge), x=edge, y=height + 4, class_="name"),
                class_=line.look.colour,
            )
        )
    return join(*parts)
