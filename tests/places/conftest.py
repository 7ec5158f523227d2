"""gpurun as a person runs it on machines of his own: no AWS anywhere, a home of its own, real SSH servers."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from launcher.paths import StatePaths
from tests.sync.conftest import Sshd, make_sshd, sshd

__all__ = ["make_sshd", "sshd"]

WORK = "for i in $(seq 40); do echo line $i; sleep 0.02; done; echo weights > $GPURUN_OUTPUT_DIR/w.txt\n"
WHOLE = "".join(f"line {i}\n" for i in range(1, 41))
PATIENT = """
trap 'echo saved > $GPURUN_OUTPUT_DIR/saved; exit 0' TERM
echo begun
while true; do sleep 0.05; done
"""
"""Works until it is asked to end, and saves then."""


@dataclass
class Desk:
    """A person's computer: a home, a state folder, a working folder, and gpurun on it, with nothing of AWS."""

    home: Path
    started: list[subprocess.Popen] = field(default_factory=list)

    @property
    def state(self) -> StatePaths:
        return StatePaths(self.home / "state" / "gpurun")

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SSH_"))}
        return env | {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "PYTHONWARNINGS": "error"}

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-W", "default", "-m", "launcher.cli"]

    def gpurun(
        self, *arguments: str, timeout_s: float = 60, below: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, `below` another that executes it."""
        return subprocess.run(
            [*below, *self.command, *arguments],
            cwd=self.work,
            env=self.environment | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str, **env: str) -> subprocess.Popen:
        """Start a command and leave it running."""
        with (self.home / "stdout").open("ab") as out, (self.home / "stderr").open("ab") as err:
            process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=self.work,
                env=self.environment | env,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def job(self, text: str, name: str = "job.sh") -> str:
        """Write a job script into the working folder."""
        (self.work / name).write_text(text)
        return name

    def stderr(self) -> str:
        path = self.home / "stderr"
        return path.read_text() if path.exists() else ""

    def stdout(self) -> str:
        return (self.home / "stdout").read_text()

    def runs(self) -> list[dict]:
        return json.loads(self.gpurun("status", "--json", "--all").stdout)

    def run(self) -> dict:
        """The only run."""
        (run,) = self.runs()
        return run

    def results(self) -> Path:
        return Path(self.run()["results_dir"])

    def events(self) -> list[tuple[str, dict]]:
        """All events of all runs, read beside the launcher."""
        if not self.state.ledger.exists():
            return []
        book = sqlite3.connect(f"file:{self.state.ledger}?mode=ro", uri=True, timeout=5)
        try:
            return [(kind, json.loads(data)) for kind, data in book.execute("SELECT kind, data FROM events")]
        except sqlite3.OperationalError:  # not made yet
            return []
        finally:
            book.close()

    def wait_for(self, seen: Callable[[], object], timeout_s: float = 30) -> None:
        """Wait for something that another process does."""
        limit = time.monotonic() + timeout_s
        while not seen():
            assert time.monotonic() < limit, self.stderr()
            time.sleep(0.01)

    def wait_for_event(self, kind: str, timeout_s: float = 30, **wanted: str) -> None:
        self.wait_for(lambda: any(k == kind and wanted.items() <= data.items() for k, data in self.events()), timeout_s)

    def here(self) -> list[str]:
        """What lies where runs on this machine lie, the agent apart."""
        return _left(self.state.here)

    def processes(self) -> list[psutil.Process]:
        """Jobs, supervisors and agents of runs on this machine that still live."""
        return _processes_below(self.state.here)


def _left(home: Path) -> list[str]:
    folder = home / "gpurun"
    return (
        sorted(path.name for path in folder.iterdir() if not path.name.startswith("agent-")) if folder.exists() else []
    )


def _processes_below(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(home) in each for each in told):
            found.append(process)
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh computer; whatever was started on it is ended with it."""
    it = Desk(home=tmp_path / "user")
    it.work.mkdir(parents=True)
    yield it
    for process in it.started:
        if process.poll() is None:
            process.kill()
        process.wait()
    for process in _processes_below(tmp_path):
        if process.pid != os.getpid():
            process.send_signal(signal.SIGKILL)


@dataclass
class Box:
    """A workstation that its owner reaches by SSH, with commands that would shut it down, and say so instead."""

    sshd: Sshd
    off: Path
    """Written to by whoever shuts it down."""

    @property
    def on(self) -> str:
        return f"ssh://{self.sshd.user}@127.0.0.1:{self.sshd.port}"

    def left(self) -> list[str]:
        """What lies in its folder of runs, the agent apart."""
        return _left(self.sshd.home)

    def known(self, desk: Desk) -> None:
        """Have its host key in the user's known_hosts, as after a first `ssh`."""
        key = self.sshd.host_key
        hosts = desk.home / ".ssh" / "known_hosts"
        hosts.parent.mkdir(mode=0o700, exist_ok=True)
        hosts.write_text(f"[127.0.0.1]:{self.sshd.port} {key.algorithm} {key.base64}\n")


@pytest.fixture
def make_box(make_sshd: Callable[..., Sshd], tmp_path: Path, desk: Desk) -> Callable[..., Box]:
    """Workstations on request, listening, whose key the user's ssh_config names."""
    made: list[Box] = []

    def make(path: str = "", more: str = "") -> Box:
        off = tmp_path / f"off{len(made)}"
        programs = tmp_path / f"programs{len(made)}"
        programs.mkdir()
        for name in ("sudo", "shutdown", "poweroff", "systemctl"):
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{off}\n')
            (programs / name).chmod(0o755)
        sshd = make_sshd(more, PATH=path or f"{programs}:{os.environ['PATH']}")
        sshd.start()
        config = desk.home / ".ssh" / "config"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        with config.open("a") as file:
            file.write(
                f"Host box{len(made) or ''}\n    HostName 127.0.0.1\n    Port {sshd.port}\n    User {sshd.user}\n"
                f"Match host 127.0.0.1\n    IdentityFile {sshd.key}\n    IdentitiesOnly yes\n"
            )
        made.append(Box(sshd=sshd, off=off))
        return made[-1]

    return make


@pytest.fixture
def box(make_box: Callable[..., Box]) -> Box:
    """One of them."""
    return make_box()
