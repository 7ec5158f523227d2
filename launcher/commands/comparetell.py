"""What a comparison has come to: on the terminal, as JSON, as a page; those of before; one against another."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import render
from launcher.compare import kept, stored, together
from launcher.errors import LedgerError, SpecError
from launcher.render.figures import clean

if TYPE_CHECKING:
    from launcher.compare.kept import Kept
    from launcher.comparison import Comparison
    from launcher.ledger import ComparisonRecord, Ledger

EARLIER = 5
"""Comparisons that are looked at for how long a job takes."""


def conclude(record: ComparisonRecord, book: Ledger) -> Comparison:
    """What the ledger keeps of it, or else what its runs have brought home so far; kept once all of them are over."""
    if record.result is not None:
        return stored.loads(record.result)
    asked = kept.loads(record.request)
    found = together.put(asked, book)
    if not together.unfinished(asked, book):
        book.comparisons.tell(record.comparison_id, stored.dumps(found))
    return found


def earlier(name: str, book: Ledger) -> list[Comparison]:
    """The last comparisons of a job that are over, newest first; one that cannot be read is passed over."""
    found: list[Comparison] = []
    for record in book.comparisons.list():
        if record.result is not None and record.comparison_id.startswith(f"{compared(name)}-") and len(found) < EARLIER:
            with suppress(LedgerError):
                found.append(stored.loads(record.result))
    return found


def compared(name: str) -> str:
    """What ids of comparisons of a job begin with."""
    return f"{name[:33].rstrip('-')}-compare"


def page(found: Comparison, asked: Kept, html: Path | None, book: Ledger) -> Path:
    """Write the page to `html`, or beside the results; raises `SpecError` where it cannot be written."""
    from launcher.compare import page as pages

    path = (html or _beside(asked, book) / f"{found.comparison_id}.html").absolute()
    beginning = path.with_name(f".{path.name}.part")
    try:
        beginning.write_text(pages.render(found), encoding="utf-8")
        beginning.replace(path)
    except OSError as error:
        raise SpecError(f"the page cannot be written to {path}: {error.strerror}", hint="--html FILE") from None
    return path


def check_page(html: Path | None) -> None:
    """Raise `SpecError` for a page that could not be written: before hours go into what it is to show."""
    if html is not None and (html.is_dir() or not html.absolute().parent.is_dir()):
        raise SpecError(f"--html {html}: there is no folder for such a file", hint="--html compare.html")
    if html is not None and not os.access(html if html.exists() else html.absolute().parent, os.W_OK):
        raise SpecError(f"--html {html} cannot be written", hint="--html compare.html")


def tell(found: Comparison, asked: Kept, html: Path | None, book: Ledger, *, as_json: bool) -> None:
    """Print it with its page written; what keeps the page from being written is raised when all else is told."""
    path, fault = None, None
    try:
        path = page(found, asked, html, book)
    except SpecError as error:
        fault = error
    if as_json:
        render.print_json({"event": "comparison", **stored.to_json(found), "page": str(path) if path else None})
    else:
        from launcher.render import comparison

        comparison.show(found)
        tell_unfinished(asked, book)
        sys.stderr.write(f"page      {path}\n" if path else "")
    if fault is not None:
        raise fault


def tell_unfinished(asked: Kept, book: Ledger) -> None:
    """Which runs are not over, and what to do about them."""
    from launcher import process

    for record in together.unfinished(asked, book):
        held = process.alive(record.launcher_pid, record.launcher_started)
        what = f"process {record.launcher_pid} attends it" if held else f"next: gpurun resume {record.run_id}"
        sys.stderr.write(f"run {record.run_id} is not over ({record.status}); {what}\n")


def worse(before: Comparison, after: Comparison, *, as_json: bool) -> bool:
    """Print what has changed between two comparisons; whether anything got worse by more than its spread."""
    from launcher.compare.against import against

    found = against(before, after)
    if as_json:
        render.print_json({"event": "against", "regressions": len(found.regressions), **asdict(found)})
        return bool(found.regressions)
    lines = [f"{after.comparison_id} against {before.comparison_id}"]
    lines += [f"{'worse ' if change.worse else 'better'}  {change.said}" for change in found.changes]
    lines += [f"not compared: {said}" for said in found.untold]
    if not found.changes:
        lines.append("no figure differs by more than its spread")
    sys.stdout.write("\n".join(map(clean, lines)) + "\n")
    return bool(found.regressions)


def listed(book: Ledger, *, as_json: bool) -> None:
    """Every comparison, newest first."""
    rows = [
        (record, stored.loads(record.result).verdict if record.result else "") for record in book.comparisons.list()
    ]
    if as_json:
        names = ("comparison_id", "created_at", "title", "run_ids")
        render.print_json(
            [{name: getattr(record, name) for name in names} | {"verdict": said} for record, said in rows], indent=1
        )
    elif not rows:
        sys.stdout.write("no comparisons yet; gpurun compare-cpu-gpu deck-mlp --sandbox --devices cpu makes one\n")
    else:
        cells = [(record.comparison_id, render.age(record.created_at), said or "not over") for record, said in rows]
        sys.stdout.write(render.table(("comparison", "age", "verdict"), cells) + "\n")


def _beside(asked: Kept, book: Ledger) -> Path:
    """The folder that the first run's results lie in."""
    for record in together.records(asked, book):
        folder = Path(record.results_dir).parent
        if folder.is_dir():
            return folder
    return Path.cwd()
