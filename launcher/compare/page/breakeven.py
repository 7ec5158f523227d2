"""The break-even curve of a sweep: what a run takes on the CPU and on the GPU, and where the lines cross."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.compare.page.frame import NARROW, SIGN, WIDE, Axis, Caption, axes, drawing, margin
from launcher.compare.page.markup import Markup, element, join, path
from launcher.compare.page.palette import marker, spaced
from launcher.compare.page.scale import Scale, drawable, linear, logarithmic
from launcher.comparison import Crossing, Spread, SweepPoint
from launcher.domain import Device
from launcher.render.figures import clean, dollars, figure, tick, tick_dollars
from launcher.render.told import crossing_heading, crossing_words

HEIGHT = 320.0
LOOKS = {Device.CPU: ("cpu-line", "square", "6 3"), Device.GPU: ("gpu-line", "circle", None)}


def drawn_points(crossing: Crossing) -> list[SweepPoint]:
    """Those that can be drawn."""
    return [
        point
        for point in crossing.points
        if drawable(point.at) and all(drawable(each.median) and each.median > 0 for each in (point.cpu, point.gpu))
    ]


def break_even(crossing: Crossing, *, ident: str, wide: bool) -> Markup:
    """Both lines, logarithmic both ways where the setting is positive; the crossing marked, its doubt shaded."""
    points = drawn_points(crossing)
    width = WIDE if wide else NARROW
    money = crossing.what == "usd"
    places = [point.at for point in points]
    make = logarithmic if all(at > 0 for at in places) else linear
    levels = [value for point in points for spread in (point.cpu, point.gpu) for value in _ends(spread)]
    y = Axis(
        scale=logarithmic(levels, HEIGHT - 46, 46),
        title="dollars a run, logarithmic" if money else "seconds, logarithmic",
        label=tick_dollars if money else tick,
    )
    x = make(places, margin(y), width - 50)
    kind = ", logarithmic" if x.logarithmic else ""
    body = join(
        axes(
            Axis(scale=x, title=f"{clean(crossing.setting, most=30)}{kind}", label=tick, ticks=_ticks(places)),
            y,
            wide=wide,
        ),
        _crossing(crossing, x, y.scale),
        *(_line(points, device, x, y.scale) for device in LOOKS),
        _names(points, x, y.scale),
    )
    return drawing(
        body,
        Caption(
            ident=ident,
            title=f"Break-even over {clean(crossing.setting)} in {crossing_heading(crossing)}",
            description=f"{crossing_words(crossing)}. " + _spoken(points, money=money),
        ),
        width=width,
        height=HEIGHT,
    )


def _ends(spread: Spread) -> list[float]:
    return [value for value in (spread.least, spread.median, spread.most) if drawable(value) and value > 0]


def _ticks(places: Sequence[float]) -> tuple[float, ...] | None:
    """The measured values themselves, where they are few: 32, 64, 128 rather than 30 and 100."""
    return tuple(sorted(set(places))) if 2 <= len(set(places)) <= 10 else None


def _line(points: Sequence[SweepPoint], device: Device, x: Scale, y: Scale) -> Markup:
    colour, kind, dash = LOOKS[device]
    parts, places = [], []
    for point in points:
        spread = _of(point, device)
        at, level = x.at(point.at), y.at(spread.median)
        places.append((at, level))
        ends = _ends(spread)
        parts.append(element("line", x1=at, y1=y.at(min(ends)), x2=at, y2=y.at(max(ends)), class_="curve thin"))
        parts.append(marker(kind, at, level))
    line = element("path", d=path(places), class_="curve", stroke_dasharray=dash) if places else None
    return element("g", element("title", device.value), line, *parts, class_=colour)


def _names(points: Sequence[SweepPoint], x: Scale, y: Scale) -> Markup | None:
    if not points:
        return None
    last = points[-1]
    wanted = [y.at(_of(last, device).median) for device in LOOKS]
    heights = spaced(wanted, 15, y.end, y.start)
    names = [
        element(
            "g", element("text", device.value, x=x.at(last.at) + 10, y=at + 4, class_="name"), class_=LOOKS[device][0]
        )
        for device, at in zip(LOOKS, heights, strict=True)
    ]
    return join(*names)


def _crossing(crossing: Crossing, x: Scale, y: Scale) -> Markup | None:
    value = crossing.value
    if value is None or not drawable(value) or not x.low <= value <= x.high:
        return None
    at = x.at(value)
    ends = [end for end in (crossing.least, crossing.most) if end is not None and drawable(end)]
    band = None
    if len(ends) == 2:
        low, high = (x.at(max(end, x.low)) for end in sorted(ends))
        band = element("rect", x=low, y=y.end, width=max(high - low, 0), height=y.start - y.end, class_="doubt")
    word = f"from {figure(value)} the GPU pays" if crossing.above else f"up to {figure(value)} the GPU pays"
    word += ", uncertain" if crossing.uncertain else ""
    half = len(word) * SIGN / 2
    middle = min(max(at, x.start + half), x.end + 46 - half)
    return element(
        "g",
        band,
        element("line", x1=at, y1=y.start, x2=at, y2=y.end - 6, class_="reference"),
        element("text", word, x=middle, y=y.end - 11, text_anchor="middle", class_="halo strong"),
    )


def _of(point: SweepPoint, device: Device) -> Spread:
    return point.cpu if device is Device.CPU else point.gpu


def _spoken(points: Sequence[SweepPoint], *, money: bool) -> str:
    unit = dollars if money else lambda value: f"{figure(value)} s"
    told = (f"at {figure(each.at)} cpu {unit(each.cpu.median)}, gpu {unit(each.gpu.median)}" for each in points)
    return "; ".join(told) + "." if points else "Nothing was measured."
