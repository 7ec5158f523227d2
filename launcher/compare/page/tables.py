"""The page's tables: legs, parity, figures from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.palette import style, swatch
from launcher.comparison import Comparison, LegResult, Parity, Spread
from launcher.render import beside
from launcher.render.figures import NONE, around, clean, figure
from launcher.render.legcells import Column, Group, is_done, leg_columns, untold_by_name, where_to_look, why_not
from launcher.render.told import allowed

GROUPS = {Group.WHAT: "leg", Group.TIME: "time", Group.USE: "use of the machine", Group.MONEY: "US dollars"}
SPREADS = {"elapsed s": "elapsed_s", "train s": "train_s", "epoch s": "epoch_s", "target s": "target_s"}
"""Columns under whose figure stands what lies around it."""


def scrolling(*rows: object, label: str, class_: str | None = None) -> Markup:
    """A table in a box of its own that scrolls sideways where the window is narrow; by the keyboard too."""
    table = element("table", *rows, class_=class_)
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)


def row(cells: Sequence[object], *, heading: bool = False, class_: str | None = None) -> Markup:
    """One row of plain cells."""
    made = [element("th", each, scope="col") if heading else element("td", each) for each in cells]
    return element("tr", *made, class_=class_)


def legs(comparison: Comparison) -> Markup:
    """As on the terminal: a leg a row, medians with what lies around them."""
    told = untold_by_name(leg_columns(comparison.legs), comparison.legs)
    # The machine stands below the leg's name: a wide table hides its end.
    columns = [each for each in told if each.heading != "machine"]
    groups = [(group, [each for each in columns if each.group == group]) for group in Group]
    above = [element("th", GROUPS[group], colspan=len(of), scope="colgroup") for group, of in groups if of]
    ordered = [each for _, of in groups for each in of]
    names = [_heading(each, first=_begins_group(ordered, index)) for index, each in enumerate(ordered)]
    body = [_leg(index, each, ordered) for index, each in enumerate(comparison.legs)]
    head = element("thead", element("tr", *above, class_="groups"), element("tr", *names))
    return scrolling(head, element("tbody", *body), label="legs", class_="legs")


def _heading(column: Column, *, first: bool) -> Markup:
    kind = " ".join(filter(None, ("figure" if column.group != Group.WHAT else "", "first" if first else "")))
    return element("th", element("abbr", column.heading, title=column.meaning), scope="col", class_=kind or None)


def _begins_group(columns: Sequence[Column], index: int) -> bool:
    return index > 0 and columns[index].group != columns[index - 1].group


def _leg(index: int, result: LegResult, columns: Sequence[Column]) -> Markup:
    drawn = swatch(style(index, result.leg.device))
    place = element("small", element("bdi", clean(result.machine or result.leg.place)))
    name = element("th", drawn, " ", element("bdi", clean(result.leg.name)), place, scope="row")
    what = [column for column in columns[1:] if column.group == Group.WHAT]
    if not is_done(result):
        look = where_to_look(result)
        log = element("small", element("code", look)) if look else None
        told = element("td", why_not(result), log, colspan=max(len(columns) - 1 - len(what), 1), class_="reason first")
        return element("tr", name, *(element("td", each.cell(result)) for each in what), told, class_="not-run")
    cells = [
        _cell(column, result, first=_begins_group(columns, number)) for number, column in enumerate(columns) if number
    ]
    return element("tr", name, *cells)


def _cell(column: Column, result: LegResult, *, first: bool) -> Markup:
    text = column.cell(result)
    kind = " ".join(filter(None, ("figure" if column.group != Group.WHAT else "", "first" if first else "")))
    spread = _spread(column, result)
    below = element("small", spread) if spread else None
    return element("td", text, below, class_=" ".join(filter(None, (kind, "none" if text == NONE else ""))) or None)


def _spread(column: Column, result: LegResult) -> str:
    found = getattr(result, SPREADS[column.heading]) if column.heading in SPREADS else None
    return around(found) if isinstance(found, Spread) else ""


def parity(parities: Sequence[Parity]) -> Markup:
    """Each leg against the reference: within the tolerance or not, and where not."""
    head = row(("leg", "against", "costs differ by", "weights differ by", ""), heading=True)
    body = [_parity(each) for each in parities]
    return scrolling(element("thead", head), element("tbody", *body), label="parity")


def _parity(each: Parity) -> Markup:
    notes = [
        *each.exceeded,
        *([] if each.equal_steps else ["They ended with different numbers of steps."]),
        *each.untold,
    ]
    compared = figure(each.largest_cost_difference) != NONE or figure(each.largest_weight_difference) != NONE
    if each.holds:
        verdict = element("span", "equal to the bit" if each.bytes_equal else "the same", class_="good")
    else:
        verdict = element(
            "span", "not the same" if compared else "not compared", class_="bad" if compared else "unknown"
        )
    told = [element("small", clean(note)) for note in notes]
    return element(
        "tr",
        element("th", element("bdi", clean(each.leg)), scope="row"),
        element("td", element("bdi", clean(each.reference))),
        _difference(each.largest_cost_difference, each.tolerance),
        _difference(each.largest_weight_difference, each.weight_tolerance),
        element("td", verdict, *told, class_="told"),
    )


def _difference(value: float | None, tolerance: float) -> Markup:
    said = element("small", f"{allowed(tolerance)} allowed") if figure(value) != NONE else None
    return element("td", figure(value), said, class_="figure")


def cited(comparison: Comparison) -> Markup | None:
    """Figures from elsewhere: those of a leg beside ours, then the others as they were told."""
    lines = beside.lines(comparison)
    told = [element("tr", element("th", what, scope="row"), element("td", said)) for what, said in lines]
    head = element("thead", row(("what", "figure"), heading=True))
    others = scrolling(head, element("tbody", *told), label="figures from elsewhere") if told else None
    found = beside.besides(comparison)
    if not (found or others):
        return None
    return join(_beside(found) if found else None, others)


def _beside(found: Sequence[beside.Beside]) -> Markup:
    columns = beside.pairs(found)
    above = [element("th", each.heading, colspan=2, scope="colgroup", class_="first") for each in columns]
    names = [
        element("th", word, scope="col", class_="figure first" if word == "ours" else "figure")
        for _ in columns
        for word in ("ours", "theirs")
    ]
    body = [
        element(
            "tr",
            element("th", element("bdi", beside.row_name(each, found)), scope="row"),
            *(
                element("td", cell, class_="figure" if number % 2 else "figure first")
                for number, cell in enumerate(beside.cells(each, columns))
            ),
        )
        for each in found
    ]
    head = element(
        "thead", element("tr", element("th", ""), *above, class_="groups"), element("tr", element("th", "leg"), *names)
    )
    table = scrolling(head, element("tbody", *body), label="ours and theirs")
    whose = [element("p", f"Theirs: {each}.", class_="note") for each in beside.sources(found)]
    return join(table, *whose, element("p", beside.NOTE, class_="note"))
