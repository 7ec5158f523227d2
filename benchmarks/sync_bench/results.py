"""What was measured: one JSON line each, and the tables made of them."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from report.machine import commit, first_line, machine
from report.table import seconds, table
from sync_bench.contenders import INSIDE, WHOLE
from sync_bench.links import LINKS
from sync_bench.rows import ROWS, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One contender, once."""

    row: str
    link: str
    contender: str
    round: int
    wall_s: float
    near_cpu_s: float
    far_cpu_s: float
    sent_bytes: int
    """On the line, near to far, headers included; on loopback both directions together."""
    received_bytes: int
    size_bytes: int
    """Of the data set."""
    error: str = ""
    batch: str = ""
    """When its run of the benchmark began."""
    load: float = 0.0
    """The machine's at the end of it."""
    about: str = ""
    """Which version, machine and tools."""


class Store:
    """The file of JSON lines; a run may go on where an earlier one stopped."""

    def __init__(self, path: Path, *, go_on: bool) -> None:
        self._path = path
        self._seen = load(path)
        now = time.strftime("%Y-%m-%dT%H:%M:%S")
        self._batch = self._seen[-1].batch if go_on and self._seen else now
        self._about = about()

    def has(self, row: str, link: str, contender: str, number: int) -> bool:
        """Whether this run has that measurement, and it went well."""
        return any(
            (each.batch, each.row, each.link, each.contender, each.round) == (self._batch, row, link, contender, number)
            and not each.error
            for each in self._seen
        )

    def add(self, measured: Measured) -> None:
        """Write one down."""
        told = asdict(measured) | {"batch": self._batch, "load": round(os.getloadavg()[0], 2), "about": self._about}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(told) + "\n")


def load(path: Path) -> list[Measured]:
    """All that was measured so far."""
    if not path.exists():
        return []
    return [Measured(**json.loads(line)) for line in path.read_text().splitlines() if line]


def about() -> str:
    """What was measured on, and with."""
    tools = (
        first_line("ssh", "-V").partition(",")[0],
        " ".join(first_line("rsync", "--version").split()[:3:2]),
        f"zstd {first_line('zstd', '--version').rpartition('v')[2].partition(',')[0]}",
        f"paramiko {version('paramiko')}",
        f"cryptography {version('cryptography')}",
    )
    return f"{machine()}; {', '.join(tools)}; commit {commit()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A contender on one row and line."""

    contender: str
    walls_s: tuple[float, ...]
    near_cpu_s: float
    far_cpu_s: float
    line_bytes: float
    failed: int

    @property
    def wall_s(self) -> float:
        """The median."""
        return statistics.median(self.walls_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row on one line, all its contenders."""

    row: Row
    link: str
    size_bytes: float
    found: dict[str, Summary]

    def rival(self) -> Summary | None:
        """The peer that the goal is set against: the best with default ciphers, unless it is named."""
        return self._best(gcm=False, begins=self.row.against_on_loopback if self.link == "lo" else "")

    def best_with_gcm(self) -> Summary | None:
        """The best with AES-GCM asked for."""
        return self._best(gcm=True, begins="")

    def _best(self, *, gcm: bool, begins: str) -> Summary | None:
        peers = [
            each
            for name, each in self.found.items()
            if not name.startswith("gpurun")
            and name.endswith("GCM") == gcm
            and name.startswith(begins)
            and each.walls_s
        ]
        return min(peers, key=lambda each: each.wall_s, default=None)

    @property
    def line_s(self) -> float | None:
        """What the line itself needs for what must go over it."""
        return LINKS[self.link].needs_s(int(self.size_bytes * self.row.changed))


def cells(seen: Iterable[Measured]) -> list[Cell]:
    """The last run's results for each row and line."""
    latest: dict[tuple[str, str], list[Measured]] = {}
    for each in seen:
        place = (each.row, each.link)
        if place in latest and latest[place][0].batch != each.batch:
            latest[place] = []
        latest.setdefault(place, []).append(each)
    found = []
    for row in ROWS.values():
        for link in LINKS:
            here = latest.get((row.name, link))
            if here:
                names = dict.fromkeys([*row.peers_on(link), INSIDE, WHOLE, *(each.contender for each in here)])
                summaries = {name: _summary(name, [each for each in here if each.contender == name]) for name in names}
                present = {name: each for name, each in summaries.items() if each.walls_s or each.failed}
                size = statistics.median(each.size_bytes for each in here)
                found.append(Cell(row=row, link=link, size_bytes=size, found=present))
    return found


def _summary(name: str, here: list[Measured]) -> Summary:
    well = [each for each in here if not each.error]

    def middle(values: Iterable[float]) -> float:
        return statistics.median(values) if well else 0.0

    return Summary(
        contender=name,
        walls_s=tuple(each.wall_s for each in well),
        near_cpu_s=middle(each.near_cpu_s for each in well),
        far_cpu_s=middle(each.far_cpu_s for each in well),
        line_bytes=middle(max(each.sent_bytes, each.received_bytes) for each in well),
        failed=len({each.round for each in here if each.error} - {each.round for each in well}),
    )


def report(seen: list[Measured]) -> str:
    """The tables, in Markdown."""
    if not seen:
        return "nothing is measured yet\n"
    measured = cells(seen)
    used = sorted({each.about for cell in measured for each in seen if each.row == cell.row.name})
    return "\n".join(
        [
            "## Sync",
            "",
            NOTES,
            "",
            *(f"Measured on {each}." for each in used[-1:]),
            "",
            "### gpurun beside the best that one can type",
            "",
            table(GOAL_HEADERS, [_goal_row(cell, measured) for cell in measured]),
            "",
            "### Every contender",
            "",
            table(ALL_HEADERS, [words for cell in measured for words in _all_rows(cell)]),
            "",
        ]
    )


NOTES = """\
Made by `python benchmarks/sync.py`: medians, contenders in turn and in another order each round, every result compared
byte by byte. Data, source and destination lie in memory (tmpfs), where fsync costs nothing; the shaped links are
emulated in user space on the same cores, TCP is Linux's default (CUBIC). At 1 % loss a single connection carries 0.4 to
2 MB/s, so that row carries less. "In process": a gpurun that runs, with the connections it keeps; "whole": with the
start of Python and the log-in. "master": over a ControlMaster. "line needs": bytes over rate. The best peer is the best
with OpenSSH's default ciphers (for 1 GiB on loopback: the best rsync); with AES-GCM asked for it stands beside. `scp`
and `sftp` take a round trip and more per file, so 10,000 files were left to them on loopback only."""

GOAL_HEADERS = (
    "row",
    "link",
    "data, MB",
    "line needs, s",
    "best peer",
    "s",
    "best with GCM, s",
    "gpurun in process, s",
    "ratio",
    "gpurun whole, s",
    "ratio",
    "goal",
    "met (in process / whole)",
)
ALL_HEADERS = (
    "row",
    "link",
    "contender",
    "wall, s",
    "fastest",
    "slowest",
    "near CPU, s",
    "far CPU, s",
    "MB on the line",
)


def _goal_row(cell: Cell, others: list[Cell]) -> list[str]:
    peer, gcm = cell.rival(), cell.best_with_gcm()
    goal = cell.row.goal_on(cell.link)
    ratios = [_ratio(cell, name, others) for name in (INSIDE, WHOLE)]
    said = ["-" if ratio is None or goal is None else "yes" if ratio <= goal else "no" for ratio in ratios]
    against = "of a full transfer" if cell.row.of_own else ""
    return [
        cell.row.title,
        LINKS[cell.link].title,
        f"{cell.size_bytes / 1e6:.0f}",
        seconds(cell.line_s),
        peer.contender if peer else "-",
        seconds(peer.wall_s if peer else None),
        seconds(gcm.wall_s if gcm else None),
        *(
            word
            for name, ratio in zip((INSIDE, WHOLE), ratios, strict=True)
            for word in (seconds(_wall(cell, name)), "-" if ratio is None else f"{ratio:.2f}")
        ),
        "-" if goal is None else f"{goal:g} {against}".strip(),
        " / ".join(said),
    ]


def _ratio(cell: Cell, name: str, others: list[Cell]) -> float | None:
    """Our time over the best peer's, or over our own on the row that the goal names."""
    wall_s, peer = _wall(cell, name), cell.rival()
    base_s = peer.wall_s if peer else None
    if cell.row.of_own:
        full = [other for other in others if (other.row.name, other.link) == (cell.row.of_own, cell.link)]
        base_s = _wall(full[0], name) if full else None
    return None if wall_s is None or not base_s else wall_s / base_s


def _wall(cell: Cell, name: str) -> float | None:
    found = cell.found.get(name)
    return found.wall_s if found and found.walls_s else None


def _all_rows(cell: Cell) -> list[list[str]]:
    rows = []
    for each in cell.found.values():
        start = [cell.row.title, LINKS[cell.link].title, each.contender]
        if not each.walls_s:
            rows.append([*start, f"failed {each.failed} times", *["-"] * 5])
            continue
        times = [each.wall_s, min(each.walls_s), max(each.walls_s), each.near_cpu_s, each.far_cpu_s]
        failed = f" (failed {each.failed} times)" if each.failed else ""
        first, *more = map(seconds, times)
        rows.append([*start, first + failed, *more, f"{each.line_bytes / 1e6:.1f}"])
    return rows
