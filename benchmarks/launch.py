"""How long gpurun takes beside what one would type by hand, on one sandbox cloud, in one run.

    .venv/bin/python benchmarks/launch.py [--repeat 5] [--at-once 20]

Prints Markdown tables: start-up (processor time, ratio to `python -c pass`), `echo hello` on a running sandbox (gpurun
and the same steps by the AWS CLI, scp and ssh), and many launches at once with their memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from report.machine import machine
from report.table import table

from launcher.paths import StatePaths
from launcher.sandbox import control

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=20)
    asked = parser.parse_args()
    print(machine())
    print(", ".join(f"{name} {version(name)}" for name in ("boto3", "paramiko", "typer", "moto", "awscli")) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "work"
        home.mkdir()
        os.environ["XDG_STATE_HOME"] = folder
        start_up(asked.repeat)
        sandbox = control.start(StatePaths(Path(folder) / "gpurun").sandbox)
        try:
            (home / "job.sh").write_text("echo hello\n")
            hello(home, sandbox, asked.repeat)
            at_once(home, asked.at_once)
        finally:
            control.stop(sandbox.state)


def start_up(repeat: int) -> None:
    """Processor time, which a busy machine disturbs less than wall time."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "gpurun --help": [str(BIN / "gpurun"), "--help"],
        "gpurun status --json": [str(BIN / "gpurun"), "status", "--json"],
        "gpurun launch --help": [str(BIN / "gpurun"), "launch", "--help"],
        "aws --version": [str(BIN / "aws"), "--version"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(max(repeat, 9) + 1):
        for name, command in commands.items():
            found[name].append(cpu_ms(command))
    floor = statistics.median(found["python -c pass"][1:])
    rows = []
    for name, values in found.items():
        median = statistics.median(values[1:])
        rows.append((f"`{name}`", f"{median:.0f}", f"{median / floor:.1f}"))
    tell("Start-up", ("command", "CPU ms, median", "times `python -c pass`"), rows)


def cpu_ms(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def hello(home: Path, sandbox: control.Sandbox, repeat: int) -> None:
    """`echo hello`, from the command to its first log line and to a verified end, in turn with the same by hand."""
    account = sandbox.account
    by_hand_env = os.environ | {
        "AWS_CONFIG_FILE": str(account.config_file),
        "AWS_SHARED_CREDENTIALS_FILE": str(account.credentials_file),
        "AWS_PROFILE": str(account.profile),
        "SSH_CONFIG": str(account.ssh_config_file),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    contenders: dict[str, Callable[[], tuple[float, float]]] = {
        "gpurun launch": lambda: timed([str(BIN / "gpurun"), "launch", "--sandbox", "job.sh"], home, dict(os.environ)),
        "by hand (aws, scp, ssh)": lambda: timed(["sh", str(HERE / "by_hand.sh"), "job.sh"], home, by_hand_env),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(repeat + 1):
        for name, run in contenders.items():
            found[name].append(run())
    rows = []
    whole_ours = statistics.median(each[1] for each in found["gpurun launch"][1:])
    for name, values in found.items():
        first, whole = (statistics.median(each[index] for each in values[1:]) for index in (0, 1))
        rows.append((name, f"{first:.2f}", f"{whole:.2f}", f"{whole / whole_ours:.1f}"))
    tell("`echo hello` on a running sandbox", ("", "first log line, s", "whole run, s", "times gpurun"), rows)
    phases = newest_receipt(home)["phases"]
    tell("Phases of the last of them", ("phase", "s"), [(each["name"], f"{each['seconds']:.2f}") for each in phases])


def timed(command: list[str], cwd: Path, env: dict[str, str]) -> tuple[float, float]:
    """Seconds to the first byte of standard output and to the end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.stdout, process.stderr
    if out is None or err is None:
        raise RuntimeError
    with out, err:
        first = out.read(1)
        at_first = time.perf_counter() - began
        rest = out.read()
        told = err.read()
    if process.wait() != 0 or first + rest != b"hello\n":
        sys.exit(f"{command}: {told.decode()}")
    return at_first, time.perf_counter() - began


def newest_receipt(home: Path) -> dict:
    paths = sorted(home.glob("runs/*/gpurun/receipt.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(paths[-1].read_text())


def at_once(home: Path, count: int) -> None:
    """Many launches at once on one sandbox: all must succeed; the memory is each launcher's own peak."""
    began = time.perf_counter()
    command = [str(BIN / "gpurun"), "launch", "--sandbox", "--name", "crowd", "job.sh"]
    told = [(home / f"crowd-{number}").open("wb") for number in range(count)]
    crowd = [subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=each) for each in told]
    peaks, failed = [], 0
    for process, output in zip(crowd, told, strict=True):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.close()
        if process.returncode != 0:
            failed += 1
            print(Path(output.name).read_text(), file=sys.stderr)
        peaks.append(usage.ru_maxrss / 1024)
    whole = time.perf_counter() - began
    rows = [(str(count), str(failed), f"{whole:.1f}", f"{statistics.median(peaks):.0f}", f"{max(peaks):.0f}")]
    headers = ("launches at once", "failed", "all done after, s", "launcher's peak MB, median", "largest")
    tell("Many at once", headers, rows)


def tell(title: str, headers: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    print(f"### {title}\n\n{table(headers, rows)}\n", flush=True)


if __name__ == "__main__":
    main()
