"""Runs under schedules of faults, drawn from seeds, and whether the three promises were kept each time.

    python benchmarks/chaos.py [--count 200] [--at-once 6]     the schedules that the file of --results lacks
    python benchmarks/chaos.py --seed 17                       one schedule again, with all that is done and seen
    python benchmarks/chaos.py --latency 20                    from a notice to the job training on another machine
    python benchmarks/chaos.py --crowd 50                      so many runs at once, on one sandbox
    python benchmarks/chaos.py --report --write                the tables of the above, into RESULTS.md

The promises: nothing is billed after the deadline and nothing is left; no checkpoint that was reported as saved is lost
and no file is half; every run ends with the truth. tests/faults has the schedules, the play and the observer, who uses
plain boto3 and none of gpurun's code. Every schedule is a JSON line in the file of --results; one that broke a promise
is printed with its seed, and its files are kept below --kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from report.machine import commit, machine
from report.section import write_section
from report.stopping import stoppable
from report.table import seconds, table

from launcher.sandbox import control
from launcher.sandbox.control import Sandbox
from tests.faults import crowd
from tests.faults.campaign import play_all, stamp
from tests.faults.schedules import Kind, draw
from tests.faults.trial import Played

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "build" / "chaos.jsonl"
KEPT = ROOT / "build" / "chaos"
SANDBOX_TIMEOUT_S = 180.0
Line = dict[str, Any]


def main() -> None:
    asked = arguments()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    if not asked.report:
        with stoppable("the same command takes it up again"), sandbox() as cloud:
            run(asked, cloud)
    text = report(load(asked.results))
    print(text)
    if asked.write and text:
        write_section("chaos", "benchmarks/chaos.py", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="schedules, with the seeds from 0 on")
    parser.add_argument("--seed", type=int, action="append", help="this schedule alone, shown whole; repeatable")
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--latency", type=int, default=0, metavar="N", help="N interruptions, one after the other")
    parser.add_argument("--crowd", type=int, default=0, metavar="N", help="N runs at once")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of JSON lines")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where what broke a promise is kept")
    parser.add_argument("--afresh", action="store_true", help="also the schedules that the file has")
    parser.add_argument("--report", action="store_true", help="only the tables of what is in the file")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    return parser.parse_args()


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A cloud of this benchmark's own, gone with it."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        state = Path(folder) / "cloud"
        try:
            yield control.start(state, timeout_s=SANDBOX_TIMEOUT_S)
        finally:
            control.stop(state)


def run(asked: argparse.Namespace, cloud: Sandbox) -> None:
    kept = asked.kept / stamp()
    kept.mkdir(parents=True)
    if asked.latency:
        for found in crowd.interruptions(asked.latency, cloud, kept):
            add(asked.results, "latency", found)
            print(f"{found['seconds']:.2f} s from the notice to the job on another machine", flush=True)
    elif asked.crowd:
        found = crowd.at_once(asked.crowd, cloud, kept)
        add(asked.results, "crowd", found)
        print(json.dumps(found), flush=True)
    else:
        campaign(asked, cloud, kept)
    if not any(kept.iterdir()):
        kept.rmdir()


def campaign(asked: argparse.Namespace, cloud: Sandbox, kept: Path) -> None:
    done = set() if asked.afresh or asked.seed else {each["seed"] for each in of_kind(load(asked.results), "schedule")}
    seeds = asked.seed or [seed for seed in range(asked.count) if seed not in done]
    for played in play_all([draw(seed) for seed in seeds], cloud, kept, at_once=asked.at_once, keep=bool(asked.seed)):
        add(asked.results, "schedule", asdict(played))
        print(line_of(played), flush=True)
        for problem in played.problems:
            print(f"  BROKEN {problem}", flush=True)
        if played.problems:
            print(f"  python benchmarks/chaos.py --seed {played.seed}; kept in {played.folder}", flush=True)
        if asked.seed:
            print((Path(played.folder) / "story").read_text())


def line_of(played: Played) -> str:
    struck = ", ".join(played.struck) or "nothing"
    words = [f"seed {played.seed}: {struck}: {played.status}", f"{played.machines} machines", f"{played.seconds:.0f} s"]
    words += [f"missed {', '.join(played.missed)}"] if played.missed else []
    return ", ".join(words + ([played.reason[:100]] if played.reason else []))


def add(path: Path, kind: str, found: Line) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"commit": commit(), "machine": machine(), "load": round(os.getloadavg()[0], 1)}
    with path.open("a") as file:
        file.write(json.dumps({"kind": kind, **found, "about": about}) + "\n")


def load(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def of_kind(lines: Iterable[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]


def report(lines: list[Line]) -> str:
    newest = {line["seed"]: line for line in of_kind(lines, "schedule")}
    parts = []
    if newest:
        parts += [schedules_text(list(newest.values())), schedules_table(list(newest.values()))]
    if latencies := of_kind(lines, "latency"):
        parts.append(latency_text(latencies))
    if crowds := of_kind(lines, "crowd"):
        parts.append(crowd_text(crowds[-1]))
    if not parts:
        return ""
    return "\n\n".join(
        ["## Faults", f"Made by `python benchmarks/chaos.py` on {machine()}; commit {commit()}.", *parts]
    )


def schedules_text(played: list[Line]) -> str:
    broken = [str(each["seed"]) for each in played if each["problems"]]
    commits = sorted({each["about"]["commit"] for each in played})
    ends = Counter(each["status"] for each in played)
    told = ", ".join(f"{count} {status}" for status, count in ends.most_common())
    return (
        f"{len(played)} schedules of one to three faults, each over a whole run, several at once on one sandbox cloud; "
        f"{told}. Promises broken in {len(broken)} of them{': seeds ' + ', '.join(broken) if broken else ''}. "
        "A schedule counts in the row of each fault that struck; missed are those whose moment never came, or that met "
        f"no call and no machine; commits {', '.join(commits)}."
    )


def schedules_table(played: list[Line]) -> str:
    headers = ("fault", "schedules", "missed", "succeeded", "failed", "cancelled", "refused")
    headers += ("machines lost", "resumed", "checkpoints saved", "lost", "corrupt files", "left behind")
    headers += ("promises broken",)
    missed = Counter(kind for each in played for kind in each["missed"])
    rows = [row(kind.value, [each for each in played if kind.value in each["struck"]], missed[kind]) for kind in Kind]
    rows.append(row("none struck", [each for each in played if not each["struck"]]))
    rows.append(row("all", played, missed.total()))
    return table(headers, [each for each in rows if each[1:3] != ["0", "0"]])


def row(name: str, played: list[Line], missed: int = 0) -> list[str]:
    ends = [
        sum(each["status"] == status for each in played) for status in ("succeeded", "failed", "cancelled", "refused")
    ]
    machines = sum(max(0, each["machines"] - 1) for each in played)
    sums = [sum(each[key] for each in played) for key in ("resumed", "saved", "lost", "corrupt", "leftovers")]
    broken = sum(bool(each["problems"]) for each in played)
    return [name, *map(str, (len(played), missed, *ends, machines, *sums, broken))]


def latency_text(lines: list[Line]) -> str:
    found = sorted(each["seconds"] for each in lines)
    gaps = sorted(each["gap_s"] for each in lines)
    rows = [
        [what, str(len(values)), *map(seconds, (statistics.median(values), percentile(values, 0.95), values[-1]))]
        for what, values in (
            ("notice to training again on another machine", found),
            ("of it, no machine trained", gaps),
        )
    ]
    load = statistics.median(each["about"]["load"] for each in lines)
    return f"### Interruptions\n\nLoad of the machine meanwhile: {load}; goal: under 10 s.\n\n" + table(
        ("s", "interruptions", "median", "95th percentile", "worst"), rows
    )


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * len(ordered)))]


def crowd_text(found: Line) -> str:
    headers = ("runs at once", "failed", "left behind", "all done after, s", "API calls a run")
    cells = [str(found["runs"]), str(found["failed"]), str(found["leftovers"]), seconds(found["seconds"])]
    return "### Many at once\n\n" + table(headers, [[*cells, str(found["calls_mean"])]])


if __name__ == "__main__":
    main()
