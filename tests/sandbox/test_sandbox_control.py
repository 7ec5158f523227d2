"""Starting and stopping: one for all who ask, nothing left by any way of ending."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launcher import ownprocess
from launcher.errors import GpurunError
from launcher.sandbox import control
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.layout import process_birth


@pytest.fixture
def state(tmp_path: Path):
    folder = tmp_path / "sandbox"
    yield folder
    control.stop(folder)


def test_twenty_starters_get_one_sandbox_and_stop_leaves_nothing(state: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: control.start(state, hosts="none"), range(20)))
    assert len({each.pid for each in found}) == 1
    assert control.status(state) == found[0]
    assert stat.S_IMODE(state.stat().st_mode) == 0o700

    assert control.stop(state) is True
    assert not state.exists()
    assert list(state.parent.iterdir()) == []
    assert process_birth(found[0].pid) is None
    assert control.status(state) is None
    assert control.stop(state) is False


def test_a_killed_sandbox_is_no_sandbox_and_the_next_start_makes_another(state: Path) -> None:
    first = control.start(state, hosts="none")
    os.kill(first.pid, signal.SIGKILL)
    _await_death(first.pid)
    assert control.status(state) is None

    second = control.start(state, hosts="none")
    assert second.pid != first.pid
    assert SandboxClient(second.endpoint_url).instances() == []


def test_sigterm_alone_ends_it(state: Path) -> None:
    running = control.start(state, hosts="none")
    os.kill(running.pid, signal.SIGTERM)
    _await_death(running.pid)
    assert control.status(state) is None
    assert not (state / "sandbox.json").exists()


def test_it_outlives_the_process_that_started_it_and_its_terminal(state: Path) -> None:
    code = "import sys, pathlib, launcher.sandbox.control as c; c.start(pathlib.Path(sys.argv[1]), hosts='none')"
    starter = subprocess.Popen([sys.executable, "-c", code, str(state)], start_new_session=True)
    assert starter.wait(60) == 0
    running = control.status(state)
    assert running is not None
    assert os.getsid(running.pid) != starter.pid
    with urllib.request.urlopen(f"{running.endpoint_url}/_sandbox/checkip") as answer:
        assert answer.read() == b"127.0.0.1\n"


def test_another_kind_of_hosts_is_not_started_beside_the_first(state: Path) -> None:
    control.start(state, hosts="none")
    with pytest.raises(GpurunError, match="none hosts is running") as refused:
        control.start(state, hosts="loopback")
    assert "gpurun sandbox stop" in refused.value.hint


def test_an_unknown_kind_of_hosts_is_refused_with_those_there_are(state: Path) -> None:
    with pytest.raises(GpurunError) as refused:
        control.start(state, hosts="docker")
    assert "namespaces" in refused.value.hint
    assert not state.exists()


def test_a_start_that_fails_says_why_and_leaves_only_its_log(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = state.parent / "broken"
    (broken / "moto").mkdir(parents=True)
    (broken / "moto" / "__init__.py").write_text("raise RuntimeError('moto is broken here')")
    monkeypatch.setattr(ownprocess, "environment", lambda: {**os.environ, "PYTHONPATH": f"{broken}:{Path.cwd()}"})
    with pytest.raises(GpurunError, match="moto is broken here"):
        control.start(state, hosts="none")
    assert {path.name for path in state.iterdir()} == {"log"}


def test_strangers_cannot_read_the_credentials(state: Path) -> None:
    account = control.start(state, hosts="none").account
    assert account.credentials_file is not None
    assert stat.S_IMODE(account.credentials_file.stat().st_mode) == 0o600
    assert account.ssh_config_file is not None
    assert account.ssh_config_file.exists()


def test_the_admin_client_says_so_when_nobody_answers() -> None:
    with pytest.raises(GpurunError, match="does not answer"):
        SandboxClient("http://127.0.0.1:9").instances()


def _await_death(pid: int) -> None:
    deadline = time.monotonic() + 10
    while process_birth(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
