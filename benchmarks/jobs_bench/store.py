"""The file of JSON lines that results are kept in, and what they were measured on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jobs_bench.children import CHECKOUT, bfloat16_here
from report.machine import commit, first_line, machine

Line = Mapping[str, Any]


class Store:
    """A file that a run adds to; one that is taken up again goes on with what it lacks."""

    def __init__(self, path: Path, *, go_on: bool) -> None:
        self._path = path
        self._seen = load(path)
        now = time.strftime("%Y-%m-%dT%H:%M:%S")
        batches = {each["kind"]: each["batch"] for each in self._seen}  # the last of each kind
        self._batches = batches if go_on else {}
        self._now = now
        self._about = about()

    def has(self, kind: str, **place: Any) -> bool:
        """Whether this run has that measurement, and it went well."""
        wanted = {"kind": kind, "batch": self._batches.get(kind, self._now), **place}
        return any(not each.get("problem") and wanted.items() <= each.items() for each in self._seen)

    def add(self, kind: str, **found: Any) -> None:
        """Write one down."""
        line = {"kind": kind, "batch": self._batches.get(kind, self._now), **found}
        line |= {"load": round(os.getloadavg()[0], 2), "about": self._about}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def load(path: Path) -> list[Line]:
    """All that was measured so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def latest(seen: list[Line], kind: str) -> dict[str, list[Line]]:
    """By row: what the last run that had it found."""
    found: dict[str, list[Line]] = {}
    for each in seen:
        if each["kind"] == kind:
            before = found.get(each["row"], [])
            found[each["row"]] = [*(one for one in before if one["batch"] == each["batch"]), each]
    return found


def problems(lines: list[Line]) -> list[Line]:
    """Those that failed and were not made up for later."""

    def place(line: Line) -> tuple[Any, ...]:
        return tuple(line.get(name) for name in ("row", "variant", "round", "seed", "command"))

    well = {place(each) for each in lines if not each.get("problem")}
    return [each for each in {place(each): each for each in lines}.values() if place(each) not in well]


def about() -> str:
    """What was measured on, and with."""
    versions = [f"{name} {found}" for name in ("tensorflow-cpu", "tensorflow", "keras") if (found := _version(name))]
    torch = first_line(str(torch_python()), "-c", "import importlib.metadata as m; print(m.version('torch'))")
    if torch:
        versions.append(f"torch {torch}")
    changed = first_line("git", "-C", str(CHECKOUT), "status", "--porcelain", "jobs", "benchmarks")
    half = "with" if bfloat16_here() else "without"
    on = machine(f" {half} bfloat16")
    return f"{on}; {', '.join(versions)}; commit {commit()}{' and changes' if changed else ''}"


def torch_python() -> Path:
    """The interpreter of the environment that has PyTorch."""
    return CHECKOUT / ".venv-torch" / "bin" / "python"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
