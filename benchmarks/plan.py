"""How long a plan over four regions takes, cold and warm, in this process and as a command, on the sandbox.

    .venv/bin/python benchmarks/plan.py [--repeats 5] [--regions us-east-1,us-west-2,...] [--write]

Cold: an empty cache, new clients, nothing known. Warm: the cache of the run before. "In process" is `plan.make` with
what it imports loaded and its clients made anew; "process" is the command with the start of Python. Every cold plan is
of a sandbox that runs, as AWS does; its own first answers are asked for once before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from report.machine import commit, machine
from report.section import write_section
from report.stopping import stoppable
from report.table import seconds, table

from launcher import plan
from launcher.aws.client import Aws
from launcher.domain import Device, JobSpec, Requirements
from launcher.ledger import Ledger
from launcher.paths import StatePaths
from launcher.sandbox import control
from launcher.sandbox.client import SandboxClient

GPURUN = Path(sys.executable).parent / "gpurun"
REGIONS = "us-east-1,us-west-2,eu-west-1,eu-central-1"
GOALS_S = {"cold": 4.0, "warm": 0.5}


@dataclass
class Row:
    """One way to plan, several times."""

    what: str
    kind: str
    """`cold` or `warm`."""
    in_process: bool
    took_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    """Of the last one."""


def main() -> None:
    asked = arguments()
    with stoppable("nothing is left"), cloud() as sandbox:
        bench = Bench(sandbox, asked.regions.split(","))
        rows = [
            *bench.in_process("one GPU of any kind", Requirements(gpu_count=1), Device.GPU, asked.repeats),
            *bench.in_process("a CPU machine", Requirements(), Device.CPU, asked.repeats),
            *bench.command("gpurun launch --dry-run", ["launch", "--sandbox", "--dry-run", "job.sh"], asked.repeats),
            *bench.command("gpurun offers --gpu 1", ["offers", "--sandbox", "--gpu", "1"], asked.repeats),
        ]
    text = report(rows, asked)
    print(text)
    if asked.write:
        write_section("plan", "benchmarks/plan.py", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--regions", default=REGIONS)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    return parser.parse_args()


@contextmanager
def cloud() -> Iterator[control.Sandbox]:
    """A sandbox of our own whose instances have no hosts, and a state folder that every command here uses."""
    with tempfile.TemporaryDirectory(prefix="gpurun-bench-plan-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        state = StatePaths(Path(folder) / "gpurun").sandbox
        try:
            yield control.start(state, hosts="none")
        finally:
            control.stop(state)


class Bench:
    """Plans on one sandbox over the same regions."""

    def __init__(self, sandbox: control.Sandbox, regions: list[str]) -> None:
        self._sandbox = sandbox
        self._admin = SandboxClient(sandbox.endpoint_url)
        self._regions = tuple(regions)
        self._work = sandbox.state.parent.parent / "work"
        self._work.mkdir()
        (self._work / "job.sh").write_text("true\n")
        for device, wish in ((Device.GPU, Requirements(gpu_count=1)), (Device.CPU, Requirements())):
            self._plan(self._work / "warm-up.db", wish, device)  # moto's first answers, and our own modules

    def in_process(self, what: str, wish: Requirements, device: Device, repeats: int) -> list[Row]:
        """`plan.make`, cold and then warm, each time with clients of its own."""
        cold, warm = Row(what, "cold", in_process=True), Row(what, "warm", in_process=True)
        for number in range(repeats):
            ledger = self._work / f"{what}-{number}.db"
            for row in (cold, warm):
                self._timed(row, lambda ledger=ledger: self._plan(ledger, wish, device), time.process_time)
        return [cold, warm]

    def command(self, what: str, words: list[str], repeats: int) -> list[Row]:
        """The whole process, cold and then warm."""
        cold, warm = Row(f"`{what}`", "cold", in_process=False), Row(f"`{what}`", "warm", in_process=False)
        flags = [word for region in self._regions for word in ("--region", region)]
        home = self._work / "home"
        for _ in range(repeats):
            shutil.rmtree(home, ignore_errors=True)
            (home / "gpurun").mkdir(parents=True, mode=0o700)
            (home / "gpurun" / "sandbox").symlink_to(self._sandbox.state)
            for row in (cold, warm):
                self._timed(row, lambda: self._run([str(GPURUN), *words, *flags], home), children_cpu_s)
        return [cold, warm]

    def _plan(self, ledger: Path, wish: Requirements, device: Device) -> None:
        resources = Requirements(
            gpu_count=wish.gpu_count, vcpus=wish.vcpus, memory_bytes=wish.memory_bytes, regions=self._regions
        )
        spec = JobSpec(name="bench", argv=("true",), workdir=self._work / "empty", device=device, resources=resources)
        spec.workdir.mkdir(exist_ok=True)
        with Ledger.open(ledger) as book:
            made = plan.make(spec, Aws(self._sandbox.account), book.cache)
        left_out = [line for line in made.warnings if "left out" in line or "does not answer" in line]
        if left_out:
            sys.exit("\n".join(left_out))

    def _run(self, command: list[str], home: Path) -> None:
        env = os.environ | {"XDG_STATE_HOME": str(home)}
        done = subprocess.run(command, cwd=self._work, env=env, capture_output=True, text=True, check=False)
        if done.returncode or "left out" in done.stderr + done.stdout:
            sys.exit(done.stderr + done.stdout)

    def _timed(self, row: Row, act: Callable[[], None], cpu: Callable[[], float]) -> None:
        self._admin.clear_journal()
        began, cpu_began = time.perf_counter(), cpu()
        act()
        row.took_s.append(time.perf_counter() - began)
        row.cpu_s.append(cpu() - cpu_began)
        row.calls = Counter(call["action"] for call in self._admin.journal())


def children_cpu_s() -> float:
    used = os.times()
    return used.children_user + used.children_system


def report(rows: list[Row], asked: argparse.Namespace) -> str:
    tools = ", ".join(f"{name} {version(name)}" for name in ("boto3", "moto"))
    regions = asked.regions.split(",")
    cells = [
        (
            row.what,
            "in process" if row.in_process else "process",
            row.kind,
            seconds(statistics.median(row.took_s)),
            seconds(min(row.took_s)),
            seconds(max(row.took_s)),
            seconds(statistics.median(row.cpu_s)),
            str(sum(row.calls.values())),
            *goal(row),
        )
        for row in rows
    ]
    headers = ("what", "", "cache", "s, median", "fastest", "slowest", "CPU, s", "API calls", "goal, s", "met")
    cold = next(row for row in rows if row.kind == "cold")
    asks = ", ".join(f"{count} {name}" for name, count in sorted(cold.calls.items()))
    return "\n".join(
        [
            f"## Plans over {len(regions)} regions",
            "",
            f"Made by `python benchmarks/plan.py`, {asked.repeats} times each: {', '.join(regions)}.",
            "On one sandbox, whose answers come from the same cores. Cold is with an empty cache, warm with that of",
            "the cold one before it. CPU is of the launcher alone. The goals are of planning itself; what a command",
            "takes with the start of Python is told beside it.",
            "",
            f"Measured on {machine()}; {tools}; load {os.getloadavg()[0]:.1f}; commit {commit()}.",
            "",
            table(headers, cells),
            "",
            f"The calls of a cold plan ({cold.what}): {asks}.",
        ]
    )


def goal(row: Row) -> tuple[str, str]:
    limit_s = GOALS_S[row.kind]
    if not row.in_process and row.kind == "warm":
        return "-", "-"
    return f"{limit_s:g}", "yes" if statistics.median(row.took_s) <= limit_s else "**no**"


if __name__ == "__main__":
    main()
