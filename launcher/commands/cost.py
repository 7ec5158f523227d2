"""`gpurun cost`."""

from __future__ import annotations

import csv
import io
import re
import sys
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from launcher.commands import options, session
from launcher.errors import SpecError
from launcher.spending import By, Total

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)


def command(
    *,
    since: Annotated[str, typer.Option(help="Runs begun so long ago at most: 12h, 30d, 4w.")] = "30d",
    by: Annotated[By, typer.Option(help="Sum up by this; days are UTC, pools are type/zone/market.")] = By.NAME,
    as_json: options.Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
) -> None:
    """Sum up what runs have cost; those under way with what they have cost so far."""
    from launcher import spending

    if as_json and as_csv:
        raise SpecError("--json and --csv are two formats", hint="leave one of them out")
    now = datetime.now(UTC)
    begin = now - _span(since)
    with session.ledger() as book:
        rows = book.costs(begin)
    shares = [share for row in rows for share in spending.shares(row, now)]
    totals = spending.totals(shares, by)
    if as_json:
        _print_json(begin, by, totals, spending.total("total", shares))
    elif as_csv:
        _print_csv(by, totals)
    else:
        sys.stdout.write(_text(by, [*totals, spending.total("total", shares)]) + "\n")


def _print_json(begin: datetime, by: By, totals: tuple[Total, ...], whole: Total) -> None:
    from launcher import render

    render.print_json({"since": begin, "by": by, "rows": totals, "total": whole}, indent=1)


def _print_csv(by: By, totals: tuple[Total, ...]) -> None:
    """A row for each group; no total, which a reader would add in."""
    from launcher import render

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by.value, *(field.name for field in fields(Total)[1:])])
    writer.writerows(asdict(total).values() for total in totals)
    render.write_out(text.getvalue().encode())


def _text(by: By, totals: list[Total]) -> str:
    from launcher import render

    headers = (by.value, "runs", "interrupted", "hours", "planned", "USD")
    text = render.table(headers, [_cells(total) for total in totals])
    going = totals[-1].under_way
    if going:
        text += f"\n* so far: {going} run{'s' if going > 1 else ''} under way; gpurun status shows them"
    return text


def _cells(total: Total) -> tuple[str, ...]:
    return (
        total.key + (" *" if total.under_way else ""),
        str(total.runs),
        str(total.interruptions),
        f"{total.hours:.2f}",
        f"{total.estimate_usd:.4f}",
        f"{total.cost_usd:.4f}",
    )


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"0*([1-9][0-9]{0,5})([hdw])", text)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if span is None or span > _LONGEST:
        message = f"--since {text:.40}: expected a number and h, d or w, at most {_LONGEST.days}d"
        raise SpecError(message, hint="gpurun cost --since 30d")
    return span
