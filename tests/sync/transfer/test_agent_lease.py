"""Who holds the machine, and when it powers itself off; `sudo` and `shutdown` are programs that write it down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.agent.job import supervised
from launcher.agent.power import PATIENCE_S
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout


@pytest.fixture
def powered_off(connection: Any, tmp_path: Path) -> Callable[[], list[str]]:
    """What was asked of the machine; without a word nothing was."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sudo", "shutdown"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/asked\n')
        (folder / name).chmod(0o755)
    connection.environment["PATH"] = f"{folder}:{connection.environment['PATH']}"
    asked = folder / "asked"
    return lambda: asked.read_text().splitlines() if asked.exists() else []


Eventually = Callable[..., None]


def test_a_finished_job_nobody_holds_powers_its_machine_off(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    remote_agent.start(connection, layout, job("true", owned=True, lease_s=0.2, results_grace_s=0.8))
    began = time.monotonic()
    eventually(powered_off)
    assert time.monotonic() - began > 0.5
    assert powered_off() == ["sudo -n shutdown -h now"]


def test_a_running_job_is_left_to_run_whoever_holds_it(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    remote_agent.start(connection, layout, job("sleep 1; echo end", owned=True, lease_s=0.0))
    eventually(lambda: stream.read(connection, layout) == b"end\n")
    eventually(powered_off)
    assert remote_agent.report(connection, layout).exit_status == 0


def test_where_sudo_does_not_work_shutdown_is_called(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually, tmp_path: Path
) -> None:
    (tmp_path / "programs/sudo").write_text("#!/bin/sh\nexit 1\n")
    remote_agent.start(connection, layout, job("true", owned=True, lease_s=0.0))
    eventually(powered_off)
    assert powered_off() == ["shutdown -h now"]


def test_a_lease_holds_the_machine_until_it_lapses(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    remote_agent.start(connection, layout, job("true", owned=True, lease_s=0.0, results_grace_s=1.0))
    remote_agent.renew(connection, layout, 2.0)
    renewed = time.monotonic()
    eventually(powered_off)
    assert 2.9 < time.monotonic() - renewed < 9


def test_a_failed_job_keeps_its_machine_for_a_look(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    quiet = {"owned": True, "lease_s": 0.0, "keep_on_failure_s": 2.0}
    remote_agent.start(connection, layout, job("exit 1", **quiet))
    began = time.monotonic()
    eventually(powered_off)
    assert time.monotonic() - began > 1.5


def test_a_good_job_is_not_kept_for_a_look(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    remote_agent.start(connection, layout, job("true", owned=True, lease_s=0.0, keep_on_failure_s=600.0))
    eventually(powered_off)


def test_a_machine_that_is_not_ours_is_never_powered_off(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    remote_agent.start(connection, layout, job("true", owned=False, lease_s=0.0))
    home = str(connection.home / layout.home)
    eventually(lambda: json.loads((connection.home / layout.state).read_text())["state"] == "done")
    # With its supervisor gone, nobody is left who could.
    eventually(lambda: not supervised(home))
    assert powered_off() == []


def test_the_machines_own_deadline_ends_it_with_a_job_that_will_not_go(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    stubborn = job("trap '' TERM; while true; do sleep 0.1; done", owned=True, machine_deadline_in_s=2.0, grace_s=60.0)
    began = time.monotonic()
    remote_agent.start(connection, layout, stubborn)
    eventually(powered_off)
    assert 1.9 < time.monotonic() - began < 4
    assert powered_off() == ["sudo -n shutdown -h now"]
    assert remote_agent.report(connection, layout).state == "running"
    remote_agent.signal(connection, layout, "KILL")


def test_no_lease_holds_the_machine_beyond_its_own_deadline(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually
) -> None:
    held = job("exit 1", owned=True, machine_deadline_in_s=2.0, results_grace_s=600.0, keep_on_failure_s=600.0)
    began = time.monotonic()
    remote_agent.start(connection, layout, held)
    remote_agent.renew(connection, layout, 600.0)
    eventually(powered_off)
    assert 1.9 < time.monotonic() - began < 4


def test_a_deadline_without_a_machine_of_ours_powers_nothing_off(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any
) -> None:
    remote_agent.start(connection, layout, job("sleep 1.5", owned=False, machine_deadline_in_s=0.5))
    list(stream.follow(lambda: connection, layout))
    assert powered_off() == []


def test_a_sudo_that_hangs_holds_nothing_up(
    connection: Any, layout: RemoteLayout, job: Any, powered_off: Any, eventually: Eventually, tmp_path: Path
) -> None:
    (tmp_path / "programs/sudo").write_text("#!/bin/sh\nexec sleep 300\n")
    remote_agent.start(connection, layout, job("true", owned=True, lease_s=0.0))
    eventually(powered_off, timeout_s=PATIENCE_S + 10)
    assert powered_off() == ["shutdown -h now"]
