"""`gpurun cost`."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from launcher.commands import options, session
from launcher.errors import SpecError

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)


def command(
    *,
    since: Annotated[str, typer.Option(help="How far back: 12h, 30d, 4w.")] = "30d",
    as_json: options.Json = False,
) -> None:
    """Sum up what ended runs have cost, by name."""
    from launcher import render

    begin = datetime.now(UTC) - _span(since)
    with session.ledger() as book:
        rows_ended = [row for row in book.costs(begin) if row.cost_usd is not None]
    totals: dict[str, dict[str, float]] = {}
    for row in rows_ended:
        total = totals.setdefault(row.name, {"runs": 0, "hours": 0.0, "cost_usd": 0.0})
        total["runs"] += 1
        total["hours"] += (row.billed_s or 0.0) / 3600
        total["cost_usd"] += row.cost_usd or 0.0
    if as_json:
        render.print_json({"since": begin, "names": totals}, indent=1)
        return
    rows: list[tuple[str, ...]] = [
        (name, f"{total['runs']:.0f}", f"{total['hours']:.2f}", f"{total['cost_usd']:.4f}")
        for name, total in sorted(totals.items(), key=lambda item: -item[1]["cost_usd"])
    ]
    rows.append(("total", *(f"{sum(t[key] for t in totals.values()):{form}}" for key, form in _SUMS)))
    sys.stdout.write(render.table(("name", "runs", "hours", "USD"), rows) + "\n")


_SUMS = (("runs", ".0f"), ("hours", ".2f"), ("cost_usd", ".4f"))


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"0*([0-9]{1,6})([hdw])", text)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if span is None or span > _LONGEST:
        message = f"--since {text:.40}: expected a number and h, d or w, at most {_LONGEST.days}d"
        raise SpecError(message, hint="gpurun cost --since 30d")
    return span
