"""What would go up, as text and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from launcher import render
from launcher.sync.local.tree import Item, Scan
from launcher.sync.names import shown

ROWS = 20
"""How much of each list is shown unless all is asked for."""


@dataclass(frozen=True, slots=True)
class Section:
    """Code or data."""

    title: str
    source: str
    """A folder, a file, or an address that the machine itself fetches from."""
    scan: Scan | None
    """`None` where nothing goes up from here."""
    warnings: list[str]
    """What is told of it before a surprise."""


class _Total(NamedTuple):
    name: str
    files: int
    size_bytes: int


def print_text(sections: Sequence[Section], *, everything: bool) -> None:
    """For people: what goes to standard output, warnings behind it to standard error."""
    lines = [line for section in sections for line in _text(section, everything=everything)]
    render.write_out("".join(f"{line}\n" for line in lines).encode())
    for section in sections:
        for number, warning in enumerate(section.warnings):
            sys.stderr.write(f"{'  ' if number else 'warning: '}{warning}\n")


def print_json(sections: Sequence[Section], *, everything: bool) -> None:
    """One `sync` event."""
    told = {section.title: _json(section, everything=everything) for section in sections}
    warnings = [warning for section in sections for warning in section.warnings]
    render.print_json({"event": "sync", "dry_run": True, "code": None, "data": None, **told, "warnings": warnings})


def _text(section: Section, *, everything: bool) -> list[str]:
    head = f"{section.title}  {shown(section.source)}"
    if section.scan is None:
        return [f"{head}: the machine fetches it, nothing goes up"]
    scan = section.scan
    files = [item for item in scan.items if item.kind == "f"]
    folders = sum(item.kind == "d" for item in scan.items)
    lines = [f"{head}: {len(files):,} files in {folders:,} folders, {render.size(scan.size_bytes)}"]
    totals = _totals(scan)
    told = totals if everything else totals[:ROWS]
    lines += [f"{_right(total.size_bytes)}  {total.files:>9,} files  {shown(total.name)}" for total in told]
    lines += [f"... and {len(totals) - ROWS:,} smaller folders; --all lists them"] if len(told) < len(totals) else []
    if everything:
        lines += ["every name:", *(f"{_right(item.size_bytes)}  {_written(item)}" for item in scan.items)]
    elif files:
        title = "the largest files:" if len(files) > ROWS else "files, the largest first:"
        lines += [title, *(f"{_right(item.size_bytes)}  {shown(item.name)}" for item in _largest(files))]
    if len(files) > ROWS and not everything:
        lines.append(f"... and {len(files) - ROWS:,} smaller ones; --all lists every name")
    return lines + _skipped(scan, everything=everything)


def _skipped(scan: Scan, *, everything: bool) -> list[str]:
    told = scan.skipped if everything else scan.skipped[:ROWS]
    lines = [f"stays here: {shown(name)} {why}" for name, why in told]
    rest = len(scan.skipped) - len(told)
    return [*lines, f"... and {rest:,} more stay here; --all lists them"] if rest else lines


def _json(section: Section, *, everything: bool) -> dict[str, Any]:
    if section.scan is None:
        return {"source": section.source}
    scan = section.scan
    kinds = [item.kind for item in scan.items]
    files = [item for item in scan.items if item.kind == "f"]
    told: dict[str, Any] = {
        "source": section.source,
        "files": len(files),
        "folders": kinds.count("d"),
        "links": kinds.count("l"),
        "size_bytes": scan.size_bytes,
        "top": [total._asdict() for total in _totals(scan)],
        "largest": [{"name": item.name, "size_bytes": item.size_bytes} for item in _largest(files)],
        "skipped": [{"name": name, "why": why} for name, why in scan.skipped],
    }
    if everything:
        told["items"] = [
            {"name": item.name, "kind": item.kind, "size_bytes": item.size_bytes, "link_target": item.link_target}
            for item in scan.items
        ]
    return told


def _totals(scan: Scan) -> list[_Total]:
    """Of each folder at the top, and of the files beside them as `.`; the largest first."""
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for item in scan.items:
        if item.kind == "f":
            top, inside, _ = item.name.partition("/")
            name = top + inside if inside else "."
            counts[name] = counts.get(name, 0) + 1
            sizes[name] = sizes.get(name, 0) + item.size_bytes
    return sorted((_Total(name, counts[name], sizes[name]) for name in counts), key=lambda total: -total.size_bytes)


def _largest(files: Sequence[Item]) -> list[Item]:
    return sorted(files, key=attrgetter("size_bytes"), reverse=True)[:ROWS]


def _right(size_bytes: int) -> str:
    return f"{render.size(size_bytes):>10}"


def _written(item: Item) -> str:
    name = shown(item.name)
    if item.kind == "d":
        return f"{name}/"
    return f"{name} -> {shown(item.link_target)}" if item.kind == "l" else name
