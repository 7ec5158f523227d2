"""Which columns of the legs stand side by side: one table where there is room, else one a group of columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from launcher.comparison import LegResult
from launcher.render.figures import shorten
from launcher.render.legcells import Column, Group, leg_columns, untold_by_name

GAP = 2
"""Columns of the terminal between two columns of a table."""
LEFT = frozenset({"leg", "device", "floatX", "backend", "machine"})
"""Headings of words; the others are of figures, which stand to the right."""
LEAST_NAME = 14
"""Of a leg's name, where it must be cut."""


def blocks(results: Sequence[LegResult], width: int) -> list[list[Column]]:
    """The columns of each table; each begins with the leg's name, and none is wider than `width`.

    What each leg's name tells goes first, then what can be reckoned from other columns; only then are there several.
    """
    columns = leg_columns(results)
    if table_width(columns, results) <= width:
        return [columns]
    unnamed = untold_by_name(columns, results)
    fewer = _without_spare(unnamed, results, width)
    return [fewer] if table_width(fewer, results) <= width else _split(unnamed, results, width)


def table_width(columns: Iterable[Column], results: Sequence[LegResult]) -> int:
    """Of a table with these columns."""
    widths = [max([len(each.heading), *(len(each.cell(result)) for result in results)]) for each in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def _split(columns: Sequence[Column], results: Sequence[LegResult], width: int) -> list[list[Column]]:
    first, rest = _cut(columns[0], width), columns[1:]
    what = [each for each in rest if each.group == Group.WHAT]
    groups = [[each for each in rest if each.group == group] for group in Group if group != Group.WHAT]
    groups = [group for group in groups if group]
    # A machine and its price belong together; where nothing costs anything it stands with what was used of it.
    place = next((group for group in groups if group[0].group != Group.TIME), None)
    if place is not None:
        place[:0] = what
    elif what:
        groups.insert(0, what)
    found: list[list[Column]] = []
    for group in groups:
        if found and table_width([*found[-1], *group], results) <= width:
            found[-1] += group
        else:
            found += _over_several(first, group, results, width)
    return found or [[first]]


def _without_spare(columns: Sequence[Column], results: Sequence[LegResult], width: int) -> list[Column]:
    """Without as many of those that can go as must."""
    kept = list(columns)
    for column in sorted((each for each in columns if each.spare), key=lambda each: each.spare):
        if table_width(kept, results) > width:
            kept.remove(column)
    return kept


def _over_several(
    first: Column, members: Sequence[Column], results: Sequence[LegResult], width: int
) -> list[list[Column]]:
    """One group over as many tables as it takes."""
    found = [[first]]
    for column in _without_spare([first, *members], results, width)[1:]:
        if len(found[-1]) > 1 and table_width([*found[-1], column], results) > width:
            found.append([first])
        found[-1].append(column)
    return found


def _cut(name: Column, width: int) -> Column:
    """Names that leave room for figures beside them; their middle goes."""
    most = max(LEAST_NAME, width // 3)
    return replace(name, cell=lambda result: shorten(name.cell(result), most))
