"""HTML and SVG as text that is escaped by construction: what is not `Markup` already is text, and becomes harmless."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from launcher.render.figures import clean

VOID = frozenset({"br", "meta", "line", "path", "rect", "circle", "polygon", "polyline", "use"})
"""Elements that are always empty, in HTML or among the shapes of SVG: `<br/>` is both HTML and XML."""


class Markup(str):
    """Text that is HTML or SVG already."""

    __slots__ = ()


def words(text: object) -> Markup:
    """Text for between the tags: one line, nothing in it that draws, hides or turns the direction of writing."""
    return text if isinstance(text, Markup) else Markup(escape(clean(str(text)), quote=True))


def join(*parts: object) -> Markup:
    """One after the other; `None` is nothing."""
    return Markup("".join(words(part) for part in parts if part is not None))


def element(tag: str, *children: object, **attributes: str | float | None) -> Markup:
    """`element("a", "text", class_="x", stroke_width=2)`; `None` leaves an attribute out. Well-formed as XML too.

    Raises ValueError for a number that is not finite: no coordinate is ever `nan`.
    """
    told = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if tag in VOID:
        return Markup(f"<{tag}{told}/>")
    return Markup(f"<{tag}{told}>{join(*children)}</{tag}>")


def number(value: float) -> str:
    """A coordinate: two decimals at most. Raises ValueError where it is not finite."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no coordinate")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def path(places: Iterable[tuple[float, float]]) -> Markup:
    """A line from place to place, as `d` takes it. Raises ValueError for a coordinate that is not finite."""
    return Markup("M" + "L".join(f"{number(x)} {number(y)}" for x, y in places))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return words(value) if isinstance(value, str) else number(value)
