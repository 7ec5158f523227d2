"""Stacked bars: where the elapsed time of each leg went."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.compare.page.frame import SIGN, Axis, Caption
from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.rows import BAR, Row, chart
from launcher.compare.page.scale import Scale, linear
from launcher.compare.page.series import Phases, phases
from launcher.comparison import LegResult
from launcher.render.figures import clean, duration, seconds, shorten, tick
from launcher.render.legcells import is_done, why_not

PARTS = (
    ("ready", "getting ready: imports and data"),
    ("warm-up", "compiling and first use of the device"),
    ("train", "training at its steady pace"),
    ("rest", "the rest: tests, weights, the end"),
)
"""Their classes in style.css, and what they are."""
CORNER = 2


def phase_bars(results: Sequence[LegResult], *, ident: str, wide: bool) -> Markup:
    """One bar a leg, in the order of the legs; those that were not run say why instead."""
    found = [phases(result) for result in results]
    known = [each.all_s for each in found if each]
    said = "; ".join(
        f"{clean(result.leg.name)} {duration(each.all_s)}" for result, each in zip(results, found, strict=True) if each
    )
    rows = [_row(result, each, ident) for result, each in zip(results, found, strict=True)]
    return chart(
        rows,
        caption=Caption(
            ident=ident,
            title="Where the time went",
            description=f"Elapsed time of each leg: {said}." if said else "No leg was measured.",
        ),
        axis=lambda start, end: Axis(
            scale=linear(known, start, end, from_zero=True), title="seconds since the start", label=tick
        ),
        end_room=70,
        wide=wide,
        before=_hatching(ident),
    )


def legend() -> Markup:
    """What the parts of a bar are."""
    entries = [
        element(
            "li",
            element(
                "svg",
                element("rect", x=0, y=0, width=14, height=14, rx=CORNER, class_=f"phase {part}"),
                element("path", d="M0 14L14 0M-4 4L4 -4M10 18L18 10", class_="hatch") if part == "warm-up" else None,
                viewBox="0 0 14 14",
                width=14,
                height=14,
                aria_hidden="true",
            ),
            f" {meaning}",
        )
        for part, meaning in PARTS
    ]
    return element("ul", *entries, class_="legend")


def _row(result: LegResult, found: Phases | None, ident: str) -> Row:
    if found is None:
        reason = why_not(result) or "its time is not known"
        return Row(name=clean(result.leg.name), body=lambda x, at: _words(reason, x, at), dim=not is_done(result))
    return Row(name=clean(result.leg.name), body=lambda x, at: _bar(found, x, at, f"url(#{ident}-hatch)"))


def _words(reason: str, x: Scale, at: float) -> Markup:
    room = int((x.end - x.start + 60) / SIGN)
    return element("text", element("title", reason), shorten(reason, room), x=x.start + 4, y=at + 13, class_="reason")


def _bar(found: Phases, x: Scale, at: float, fill: str) -> Markup:
    lengths = (found.ready_s, found.warm_up_s, found.train_s, found.rest_s)
    drawn, began = [], 0.0
    for (part, meaning), length in zip(PARTS, lengths, strict=True):
        start, end = x.at(began), x.at(began + length)
        began += length
        if end - start > 0:
            drawn.append(_part(part, f"{meaning}: {duration(length)}", seconds(length), (start, end), at, fill))
    total = element("text", f"{seconds(found.all_s)} s", x=x.at(found.all_s) + 6, y=at + 13, class_="total")
    return join(*drawn, total)


def _part(part: str, meaning: str, label: str, ends: tuple[float, float], at: float, fill: str) -> Markup:
    start, end = ends
    shape = {"x": start, "y": at, "width": end - start, "height": BAR}
    hatch = element("rect", **shape, fill=fill) if part == "warm-up" else None
    fits = end - start >= len(label) * SIGN + 8
    text = element("text", label, x=(start + end) / 2, y=at + 13, text_anchor="middle", class_=f"inside {part}")
    rect = element("rect", **shape, class_=f"phase {part}")
    return element("g", element("title", meaning), rect, hatch, text if fits and part != "warm-up" else None)


def _hatching(ident: str) -> Markup:
    stripes = element("path", d="M0 6L6 0M-1 1L1 -1M5 7L7 5", class_="hatch")
    pattern = element("pattern", stripes, id=f"{ident}-hatch", width=6, height=6, patternUnits="userSpaceOnUse")
    return element("defs", pattern)
