"""gpurun as a person runs it on machines of his own: no AWS anywhere, a home of its own, real SSH servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.computer import Computer
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


@dataclass(kw_only=True)
class Desk(Computer):
    """One with nothing of AWS."""

    def run(self) -> dict:
        """The only run."""
        (run,) = self.runs()
        return run

    def results(self) -> Path:
        return Path(self.run()["results_dir"])

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
    it.kill_started()
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
