"""Starting, finding and stopping the sandbox: what commands and tests call."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from launcher import ownprocess
from launcher.domain import Account
from launcher.errors import GpurunError
from launcher.sandbox.layout import HOSTS, PROFILE, REGION, SandboxPaths, same_process

_STOP_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox cloud."""

    endpoint_url: str
    port: int
    pid: int
    hosts: str
    """`namespaces`, `loopback` or `none`."""
    warning: str
    """What a user should know of such hosts."""
    started_at: datetime
    state: Path

    @property
    def account(self) -> Account:
        """How to speak to it: the same data that would name an account of AWS."""
        paths = SandboxPaths(self.state)
        return Account(
            profile=PROFILE,
            region=REGION,
            config_file=paths.aws_config,
            credentials_file=paths.aws_credentials,
            ssh_config_file=paths.ssh_config,
        )


def start(state: Path, *, hosts: str = "auto", timeout_s: float = 60) -> Sandbox:
    """The sandbox in this folder, started if it does not run yet; many may ask at once, one starts.

    Raises `GpurunError` where it cannot start, or where one runs with another kind of hosts.
    """
    if hosts not in HOSTS:
        raise GpurunError(f"no such kind of hosts: {hosts!r}", hint=f"one of {', '.join(HOSTS)}")
    state = state.absolute()
    state.parent.mkdir(parents=True, exist_ok=True)
    with _alone(state):
        running = status(state)
        if running is None:
            _clean(state)
            return _spawn(state, hosts, timeout_s)
    if hosts not in {"auto", running.hosts}:
        raise GpurunError(
            f"a sandbox with {running.hosts} hosts is running already, not {hosts}",
            hint=f"gpurun sandbox stop && gpurun sandbox start --hosts {hosts}",
        )
    return running


def status(state: Path) -> Sandbox | None:
    """The sandbox that runs in this folder and is ready, if there is one."""
    state = state.absolute()
    try:
        facts = json.loads(SandboxPaths(state).ready.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not same_process(facts["pid"], facts["born"]):
        return None
    return Sandbox(
        endpoint_url=facts["endpoint_url"],
        port=facts["port"],
        pid=facts["pid"],
        hosts=facts["hosts"],
        warning=facts["warning"],
        started_at=datetime.fromisoformat(facts["started_at"]),
        state=state,
    )


def stop(state: Path) -> bool:
    """End the sandbox and all that it left, also one that died; whether there was anything."""
    state = state.absolute()
    if not state.exists():
        return False
    with _alone(state):
        if not state.exists():
            return False
        _clean(state)
    return True


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One at a time: a lock on the folder above, so that no lock file stays behind."""
    folder = os.open(state.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _spawn(state: Path, hosts: str, timeout_s: float) -> Sandbox:
    for module in ("moto", "flask"):
        if importlib.util.find_spec(module) is None:
            raise GpurunError(
                f"the sandbox needs the Python package {module}", hint="pip install 'gpurun-launcher[sandbox]'"
            )
    state.mkdir(mode=0o700)
    reader, writer = os.pipe()
    try:
        _run_daemon(state, hosts, writer)
        os.close(writer)
        writer = -1
        message = _await_report(reader, timeout_s)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    running = status(state)
    if message is None or "error" in message or running is None:
        _fail(state, message, timeout_s)
    return running


def _run_daemon(state: Path, hosts: str, ready_fd: int) -> None:
    argv = ownprocess.command("launcher.sandbox.daemon", "--state", str(state), "--hosts", hosts)
    argv += ["--detach", "--ready-fd", str(ready_fd)]
    with SandboxPaths(state).log.open("ab") as output:
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(ready_fd,),
            check=True,
            cwd="/",
            env=ownprocess.environment(),
        )


def _await_report(reader: int, timeout_s: float) -> dict[str, str] | None:
    """What the daemon says of its start; `None` when it says nothing in time, or died."""
    readable, _, _ = select.select([reader], [], [], timeout_s)
    text = os.read(reader, 65536) if readable else b""
    return dict(json.loads(text)) if text else None


def _fail(state: Path, message: dict[str, str] | None, timeout_s: float) -> NoReturn:
    log = SandboxPaths(state).log
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    _clean(state, keep_log=True)
    if message is not None and "error" in message:
        raise GpurunError(message["error"], hint=message.get("hint", ""))
    raise GpurunError(f"the sandbox did not start within {timeout_s:.0f} s: {tail}", hint=f"see {log}")


def _clean(state: Path, *, keep_log: bool = False) -> None:
    """End the process, then whatever hosts it left, then the files."""
    _end_process(SandboxPaths(state).pid)
    if (state / "hosts").exists() or (state / "snapshots").exists():
        from launcher.sandbox import hosts  # noqa: PLC0415 - drivers are slow to import, and seldom needed here

        hosts.sweep(state)
    log = SandboxPaths(state).log
    kept = log.read_bytes() if keep_log and log.exists() else b""
    if state.exists():
        shutil.rmtree(state)
    if kept:
        state.mkdir(mode=0o700)
        log.write_bytes(kept)


def _end_process(pid_file: Path) -> None:
    try:
        facts = json.loads(pid_file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return
    if not same_process(facts["pid"], facts["born"]):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(facts["pid"], number)
        if _ended(facts["pid"], facts["born"]):
            return


def _ended(pid: int, born: float) -> bool:
    """Whether the process ends in time. A zombie counts as ended: whoever adopted it may be slow to bury it."""
    deadline = time.monotonic() + _STOP_S
    while same_process(pid, born):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
