"""gpurun's transfers beside rsync, scp, sftp and tar, on loopback and on shaped links.

    .venv/bin/python benchmarks/sync.py [--rows big,csv] [--links lo,wan] [--repeats 5] [--quick] [--only peers]
    .venv/bin/python benchmarks/sync.py --go-on            the last run again, what it lacks
    .venv/bin/python benchmarks/sync.py --report [--write]

Every measurement is a JSON line in the file of --results; the tables are made of them: for each row and link those of
the last run that had it. The shaped links need root (network namespaces); without it loopback alone is measured.
Everything is made in one temporary folder in memory and in namespaces called gpurun-bench-..., and removed at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from report.names import names
from report.section import write_section
from report.stopping import stoppable
from sync_bench import links
from sync_bench.data import QUICK, Data, Sizes
from sync_bench.hosts import SEARCH, host
from sync_bench.results import Store, load, report
from sync_bench.rounds import Bench
from sync_bench.rows import ROWS

MEMORY = Path("/dev/shm")
"""Where Linux has a folder in memory."""
RESULTS = Path(__file__).parent.parent / "build" / "sync.jsonl"
TOOLS = ("rsync", "ssh", "scp", "sftp", "tar", "zstd", "sshd", "ssh-keygen", "diff", "setpriv")
TOOLS_OF_LINKS = ("cc", "ip", "nsenter", "unshare", "sysctl")


def main() -> None:
    asked = arguments()
    if not asked.report:
        check_tools(TOOLS)
        with stoppable("--go-on takes it up again"):
            run(asked)
    text = report(load(asked.results))
    print(text)
    if asked.write:
        write_section("sync", "benchmarks/sync.py", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=names(ROWS), default=list(ROWS), help=",".join(ROWS))
    parser.add_argument("--links", type=names(links.LINKS), default=list(links.LINKS), help=",".join(links.LINKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small data, one round: does it work?")
    parser.add_argument("--only", choices=("all", "peers", "ours"), default="all")
    parser.add_argument("--congestion", default="cubic", help="the far side's TCP: cubic, bbr")
    parser.add_argument("--loss-mib", type=int, default=32, help="what the rows with 1 %% loss carry")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of JSON lines")
    parser.add_argument("--go-on", action="store_true", help="the last run of that file, what it lacks")
    parser.add_argument("--report", action="store_true", help="only the tables of what is measured")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    return parser.parse_args()


def check_tools(needed: tuple[str, ...]) -> None:
    missing = [tool for tool in needed if shutil.which(tool, path=SEARCH) is None]
    if missing:
        sys.exit(f"not on this machine: {', '.join(missing)}")


def run(asked: argparse.Namespace) -> None:
    root = os.geteuid() == 0
    if root:
        check_tools(TOOLS_OF_LINKS)
        links.sweep(MEMORY)
    else:
        print("shaped links need root: loopback alone is measured", file=sys.stderr)
        asked.links = [name for name in asked.links if name == "lo"]
    store = Store(asked.results, go_on=asked.go_on)
    with scratch() as folder:
        data = Data(folder / "data", QUICK if asked.quick else Sizes(loss_bytes=asked.loss_mib << 20))
        emulator = links.build(folder) if root else folder
        for name in asked.links:
            rows = [ROWS[row] for row in asked.rows if name in ROWS[row].links]
            if not rows:
                continue
            with ends_of(name, emulator, asked.congestion, root=root) as ends, host(ends, folder / name) as far:
                bench = Bench(far, data, folder / name / "work", store)
                for row in rows:
                    bench.measure(row, 1 if asked.quick else asked.repeats, asked.only)
            shutil.rmtree(folder / name)


def ends_of(name: str, emulator: Path, congestion: str, *, root: bool) -> object:
    if name != "lo":
        return links.shaped(links.LINKS[name], emulator, ("cubic", congestion))
    return links.loopback("cubic") if root else links.plain_loopback()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one."""
    with tempfile.TemporaryDirectory(
        prefix=f"{links.PREFIX}-{os.getpid()}-", dir=MEMORY if MEMORY.is_dir() else None, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
