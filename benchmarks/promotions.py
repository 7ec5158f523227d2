"""Promotions from many processes at once, in a folder and in the sandbox's S3: how many a second, and are all there?

    .venv/bin/python benchmarks/promotions.py [--promotions 1000] [--processes 20] [--write]

Each process promotes versions of its own, one after the other, whatever the champion is. Then the log is read anew and
compared with what every process was told: one champion, one line, nothing lost; else the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from report.machine import commit, machine
from report.section import write_section
from report.stopping import stoppable
from report.table import seconds, table

from launcher.aws.client import Aws
from launcher.domain import Account
from launcher.ledger import account_from_text, account_to_text
from launcher.registry.folder import Folder
from launcher.registry.history import Action, Stage
from launcher.registry.place import open_store
from launcher.registry.registry import Registry
from launcher.sandbox import control

NAME = "digits"
BUCKET = "weights-of-a-benchmark"
CONTENTS = 7
"""So many different weights files; versions share them."""
GOAL_S = 60.0
FLOOR_PUTS = 300


def main() -> None:
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:])
        return
    asked = arguments()
    with stoppable("nothing is left"), tempfile.TemporaryDirectory(prefix="gpurun-bench-promotions-") as home:
        state = Path(home, "gpurun", "sandbox")
        try:
            text = measure(control.start(state, hosts="none", timeout_s=300), Path(home), asked)
        finally:
            control.stop(state)
    print(text)
    if asked.write:
        write_section("promotions", "benchmarks/promotions.py", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--promotions", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    return parser.parse_args()


def measure(sandbox: control.Sandbox, home: Path, asked: argparse.Namespace) -> str:
    aws = Aws(sandbox.account)
    aws.s3.create_bucket(Bucket=BUCKET)
    floor = floor_of(aws)
    each = asked.promotions // asked.processes
    count = each * asked.processes
    weights = home / "weights"
    fill(Registry(Folder(weights)), home, count)
    upload(weights, aws)
    rows = []
    for title, place, account in (("a folder", str(weights), None), ("S3", f"s3://{BUCKET}/team", sandbox.account)):
        took_s, told = race(place, account, asked.processes, each)
        reading_s = settled(place, account, told, count)
        rate = f"{count / took_s:.1f}"
        rows.append([title, str(count), str(asked.processes), seconds(took_s), rate, seconds(reading_s)])
    return "\n".join(
        [
            "## Promotions at once",
            "",
            f"Made by `python benchmarks/promotions.py`: {asked.processes} processes, each of which promotes versions",
            "of its own. In each row the log was one line afterwards, with one champion, and every promotion as its",
            "process was told of it. `read` is a fresh reader's time for the whole log, verified. The sandbox's S3",
            f"answers from the same cores: one process alone has {floor:.0f} conditional writes a second of it, and a",
            f"promotion is 9 requests where nobody comes between. Goal: {GOAL_S:.0f} s in S3.",
            "",
            f"{machine()}, commit {commit()}, load {os.getloadavg()[0]:.1f}",
            "",
            table(("", "promotions", "processes", "s", "a second", "read, s"), rows),
            "",
        ]
    )


def floor_of(aws: Aws) -> float:
    """Conditional writes a second by one process."""
    began = time.perf_counter()
    for number in range(FLOOR_PUTS):
        aws.s3.put_object(Bucket=BUCKET, Key=f"floor/{number}", Body=b"x" * 500, IfNoneMatch="*")
    return FLOOR_PUTS / (time.perf_counter() - began)


def fill(registry: Registry, home: Path, count: int) -> None:
    for value in range(CONTENTS):
        np.savez(home / f"{value}.npz", w=np.full((3, 2), float(value)))
    for number in range(count):
        registry.add(NAME, {"weights.npz": home / f"{number % CONTENTS}.npz"})


def upload(weights: Path, aws: Aws) -> None:
    """The layout is the same in both."""
    files = [path for path in weights.rglob("*") if path.is_file()]

    def put(path: Path) -> None:
        aws.s3.put_object(Bucket=BUCKET, Key=f"team/{path.relative_to(weights)}", Body=path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, files))


def race(place: str, account: Account | None, processes: int, each: int) -> tuple[float, list[list[int]]]:
    """How long they took together, and [version, entry] of every promotion."""
    config = account_to_text(account) if account else ""
    command = [sys.executable, __file__, "work", place, config]
    crew = [
        subprocess.Popen([*command, str(1 + number * each), str(each)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(processes)
    ]
    try:
        for worker in crew:
            worker.stdout.readline()
        began = time.perf_counter()
        for worker in crew:
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        said = [worker.communicate()[0] for worker in crew]
        took_s = time.perf_counter() - began
    finally:
        for worker in crew:
            worker.kill()
            worker.wait()
    if any(worker.returncode for worker in crew):
        sys.exit("a process failed")
    return took_s, [json.loads(line) for lines in said for line in lines.splitlines()]


def work(place: str, config: str, first: str, count: str) -> None:
    """One of the processes."""
    registry = Registry(open_store(place, account=account_from_text(config) if config else None))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(first), int(first) + int(count)):
        change = registry.promote(NAME, number)
        print(json.dumps([number, change.entry.sequence if change.entry else None]), flush=True)


def settled(place: str, account: Account | None, told: list[list[int]], count: int) -> float:
    """See that one champion, a linear history, and nothing lost is what came of it; how long the log took to read."""
    began = time.perf_counter()
    registry = Registry(open_store(place, account=account))
    log = registry.history(NAME)  # every entry is held against the one before
    reading_s = time.perf_counter() - began
    stages = Counter(log.stage(number) for number in registry.numbers(NAME))
    before = [None, *(entry.champion for entry in log.entries[:-1])]
    checks = {
        "a linear history": [entry.before for entry in log.entries] == before and log.sequence == count,
        "one champion": stages == {Stage.CHAMPION: 1, Stage.RETIRED: count - 1},
        "nothing lost": {sequence: number for number, sequence in told}
        == {entry.sequence: entry.numbers[0] for entry in log.entries if entry.action is Action.PROMOTED},
        "the stable address": registry.store.pointed(NAME) == log.champion,
    }
    for what, holds in checks.items():
        if not holds:
            sys.exit(f"{place}: {what} does not hold")
    return reading_s


if __name__ == "__main__":
    main()
