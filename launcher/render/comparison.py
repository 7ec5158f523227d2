"""A comparison for the terminal, and as plain text for a pipe: the table of legs, then what it comes to."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from launcher.render import beside
from launcher.render.figures import clean
from launcher.render.legcells import Column, is_done, where_to_look, why_not
from launcher.render.legtables import GAP, LEFT, blocks
from launcher.render.output import write_out
from launcher.render.text import table as text_table
from launcher.render.told import crossing_words, pair_words, parity_words, under_title

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from launcher.comparison import Comparison, Parity

PIPE_WIDTH = 160
"""Of text that is not for a terminal: wide enough for one table."""
PROSE_WIDTH = 100


def show(comparison: Comparison) -> None:
    """Print it on standard output: with colours and rules on a terminal, as plain lines elsewhere."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console  # noqa: PLC0415 - a pipe needs no rich

        console = Console(color_system=None if os.environ.get("NO_COLOR") else "auto")
        with console.capture() as shown:
            tell(comparison, console)
        write_out(shown.get().encode(errors="replace"))
    else:
        write_out((text(comparison) + "\n").encode(errors="replace"))


def tell(comparison: Comparison, console: Console) -> None:
    """All of it on a terminal that rich draws on."""
    from rich.text import Text  # noqa: PLC0415 - a pipe needs no rich

    console.print(Text(clean(comparison.title), style="bold"))
    console.print(Text(under_title(comparison), style="dim"))
    for part in table(comparison, width=console.width):
        console.print(part)
    if comparison.verdict:
        for part in _wrapped(clean(comparison.verdict), console.width):
            console.print(Text(part, style="bold"))
    for line in _beside(comparison, console.width):
        console.print(Text(line, style="bold cyan" if line.startswith("\n") else ""))
    for heading, lines in _sections(comparison):
        console.print(Text(f"\n{heading}", style="bold cyan"))
        for line in lines:
            style = "yellow" if heading == "warnings" else _line_style(line)
            for part in _wrapped(line, console.width, indent=2):
                console.print(Text(part, style=style))


def table(comparison: Comparison, *, width: int) -> Iterator[RenderableType]:
    """The legs as tables that fit `width`: one where there is room, else one a group of columns."""
    from rich import box  # noqa: PLC0415 - a pipe needs no rich
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    results = comparison.legs
    for columns in blocks(results, width):
        drawn = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
        for column in columns:
            left = column.heading in LEFT
            drawn.add_column(column.heading, justify="left" if left else "right", no_wrap=True, overflow="ellipsis")
        for result in results:
            style = "" if is_done(result) else "dim"
            drawn.add_row(*(Text(column.cell(result)) for column in columns), style=style)
        yield Text("")
        yield drawn
    yield Text("")


def text(comparison: Comparison, *, width: int = PIPE_WIDTH) -> str:
    """All of it as plain lines."""
    lines = [*_wrapped(clean(comparison.title), width), *_wrapped(under_title(comparison), width), ""]
    for columns in blocks(comparison.legs, width):
        rows = [[column.cell(result) for column in columns] for result in comparison.legs]
        lines += [_aligned(columns, rows), ""]
    if comparison.verdict:
        lines += _wrapped(clean(comparison.verdict), width)
    lines += [part for line in _beside(comparison, width) for part in line.split("\n")]
    for heading, told in _sections(comparison):
        lines += ["", heading]
        for line in told:
            lines += _wrapped(line, width, indent=2)
    return "\n".join(line.rstrip() for line in lines)


def _beside(comparison: Comparison, width: int) -> list[str]:
    """Figures from elsewhere beside ours, as a table is: its lines are not wrapped where they fit."""
    told = beside.text(comparison, width - 2)
    wrapped = [
        part for line in told for part in ([f"  {line}"] if len(line) + 2 <= width else _wrapped(line, width, indent=2))
    ]
    return ["\nbeside figures from elsewhere", *wrapped] if told else []


def _aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """`text.table`, with figures to the right whatever signs are in them."""
    padded = [list(row) for row in rows]
    headings = [each.heading for each in columns]
    for index, column in enumerate(columns):
        if column.heading not in LEFT:
            widest = max([len(headings[index]), *(len(row[index]) for row in padded)])
            headings[index] = headings[index].rjust(widest)
            for row in padded:
                row[index] = row[index].rjust(widest)
    return text_table(headings, padded)


def _sections(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """What follows the table, by heading; only what there is."""
    not_run = {
        f"{clean(each.leg.name)}: {why_not(each)}": where_to_look(each) for each in comparison.legs if not is_done(each)
    }
    sections = [
        (
            "not measured",
            [line for said, look in not_run.items() for line in (said, f"  see: {look}" if look else "") if line],
        ),
        ("ratios", pair_words(comparison.ratios)),
        ("parity", [line for each in comparison.parities for line in _parity_lines(each)]),
        ("break-even", [crossing_words(each) for each in comparison.crossings]),
        ("cited", [f"{what}: {told}" for what, told in beside.lines(comparison)]),
        ("warnings", [each for each in map(clean, comparison.warnings) if each not in not_run]),
    ]
    return [(heading, lines) for heading, lines in sections if lines]


def _parity_lines(parity: Parity) -> list[str]:
    mark = "✓" if parity.holds else "✗"
    return [f"{mark} {parity_words(parity)}", *(f"  {clean(each)}" for each in (*parity.exceeded, *parity.untold))]


def _line_style(line: str) -> str:
    return {"✓": "green", "✗": "red"}.get(line[:1], "")


def _wrapped(line: str, width: int, *, indent: int = 0) -> list[str]:
    """Broken between words; a name with hyphens, such as in a command to be copied, stays whole where it fits."""
    before = " " * indent
    wrapper = textwrap.TextWrapper(
        min(width, PROSE_WIDTH), initial_indent=before, subsequent_indent=before, break_on_hyphens=False
    )
    return wrapper.wrap(line) or [""]
