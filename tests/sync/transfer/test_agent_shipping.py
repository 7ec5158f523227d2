"""The shipper beside a real supervisor: started with the job and again, told of, and waited for."""

from __future__ import annotations

import secrets
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.aws import durable
from launcher.aws.client import Aws
from launcher.aws.durable import place
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout

SAVE = 'echo {0} > "$GPURUN_CHECKPOINT_DIR/draft"; mv "$GPURUN_CHECKPOINT_DIR/draft" "$GPURUN_CHECKPOINT_DIR/step"'
Eventually = Callable[..., None]


@pytest.fixture(scope="session")
def aws(sandbox_none: Sandbox) -> Aws:
    return Aws(sandbox_none.account)


@pytest.fixture
def uri(aws: Aws) -> str:
    bucket = f"outputs-{secrets.token_hex(6)}"
    aws.s3.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team"


@pytest.fixture
def permit(aws: Aws, uri: str, connection: Any, layout: RemoteLayout) -> Callable[..., None]:
    """Have the machine hold a grant."""

    def give(lifetime: timedelta = timedelta(hours=1)) -> None:
        deadline = datetime.now(UTC) + lifetime - timedelta(minutes=15)
        grant = durable.mint(aws, place.find(aws, uri), layout.run_id, segment=1, deadline=deadline)
        remote_agent.grant(connection, layout, grant.form)

    return give


@pytest.fixture
def powered_off(connection: Any, tmp_path: Path) -> Callable[[], bool]:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sudo", "shutdown"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {folder}/asked\n")
        (folder / name).chmod(0o755)
    connection.environment["PATH"] = f"{folder}:{connection.environment['PATH']}"
    return (folder / "asked").exists


def shippers(connection: Any) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if "agent.ship" in " ".join(process.cmdline()) and str(connection.home) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_job_is_shipped_while_it_runs_and_when_it_ends(
    connection: Any, layout: RemoteLayout, job: Any, aws: Aws, uri: str, permit: Any, gate: Any, eventually: Eventually
) -> None:
    permit()
    grant = connection.home / layout.home / "grant"
    assert stat.S_IMODE(grant.stat().st_mode) == 0o600
    signature = grant.read_text().partition('"x-amz-signature": "')[2][:64]
    remote_agent.start(connection, layout, job(f"{SAVE.format(1)}; {gate.wait}; echo end", durable=True))
    eventually(lambda: (found := durable.newest(aws, uri, layout.run_id)) is not None and found.checkpoint)
    assert not durable.newest(aws, uri, layout.run_id).final
    commands = [" ".join(process.cmdline()) for process in shippers(connection)]
    assert len(commands) == 1
    assert signature not in commands[0]
    gate.open()
    eventually(lambda: (report := remote_agent.report(connection, layout)).shipped and report.shipped.final)
    found = durable.newest(aws, uri, layout.run_id)
    assert (found.complete, found.exit_status, found.log_bytes) == (True, 0, 4)
    shipped = remote_agent.report(connection, layout).shipped
    assert (shipped.error_kind, shipped.files, shipped.segment) == ("", 1, 1)
    assert 0 <= shipped.age_s < 20
    for name in ("state", "shipped.json", "ship.state", "supervisor.log", "log"):
        assert signature not in (connection.home / layout.home / name).read_text()


def test_a_shipper_that_is_killed_is_started_again(
    connection: Any,
    layout: RemoteLayout,
    job: Any,
    aws: Aws,
    uri: str,
    permit: Any,
    gate: Any,
    eventually: Eventually,
) -> None:
    permit()
    remote_agent.start(connection, layout, job(f"{SAVE.format(1)}; {gate.wait}; {SAVE.format(2)}", durable=True))
    eventually(lambda: (found := durable.newest(aws, uri, layout.run_id)) is not None and found.checkpoint)
    (old,) = shippers(connection)
    old.kill()
    eventually(lambda: [each for each in shippers(connection) if each.pid != old.pid], timeout_s=20)
    gate.open()
    eventually(lambda: durable.newest(aws, uri, layout.run_id).complete)


def test_a_refusal_is_told_to_whoever_follows_and_its_end_too(
    connection: Any, layout: RemoteLayout, job: Any, sandbox_none: Sandbox, permit: Any, gate: Any
) -> None:
    permit()
    cloud = SandboxClient(sandbox_none.endpoint_url)
    cloud.fault({"match": {"action": "PostObject"}, "effect": {"error": "AccessDenied", "status": 403}, "times": -1})
    remote_agent.start(connection, layout, job(f"echo go; {gate.wait}", durable=True))
    told: list[str] = []

    def notice(text: str) -> None:
        told.append(text)
        if len(told) == 1:
            cloud.clear_faults()
            permit()
        else:
            gate.open()

    try:
        follower = stream.follow(lambda: connection, layout, on_notice=notice, on_event=lambda _: None)
        assert b"".join(follower) == b"go\n"
    finally:
        cloud.clear_faults()
    assert "cannot send to the outputs bucket" in told[0]
    assert "AccessDenied" in told[0]
    assert told[1:] == ["the machine sends to the outputs bucket again"]


def test_a_machine_goes_as_soon_as_all_is_sent(
    connection: Any, layout: RemoteLayout, job: Any, permit: Any, powered_off: Any, eventually: Eventually
) -> None:
    permit()
    order = job("true", durable=True, owned=True, lease_s=0.0, results_grace_s=900.0)
    remote_agent.start(connection, layout, order)
    eventually(powered_off, timeout_s=20)


def test_but_not_one_that_is_kept_after_a_failure(
    connection: Any, layout: RemoteLayout, job: Any, permit: Any, powered_off: Any, eventually: Eventually
) -> None:
    permit()
    order = job("false", durable=True, owned=True, lease_s=0.0, keep_on_failure_s=12.0)
    began = time.monotonic()
    remote_agent.start(connection, layout, order)
    eventually(lambda: (report := remote_agent.report(connection, layout)).shipped and report.shipped.final)
    assert not powered_off()
    eventually(powered_off, timeout_s=30)
    assert time.monotonic() - began > 11


def test_a_machine_waits_for_what_is_still_on_its_way(
    connection: Any, layout: RemoteLayout, job: Any, aws: Aws, uri: str, permit: Any, powered_off: Any, eventually: Any
) -> None:
    permit()
    cloud = SandboxClient(aws.s3.meta.endpoint_url)
    cloud.fault({"match": {"action": "PostObject"}, "effect": {"delay_s": 3.0}, "times": 2})
    remote_agent.start(connection, layout, job("echo 1 > $GPURUN_OUTPUT_DIR/w", durable=True, owned=True, lease_s=0.0))
    eventually(powered_off, timeout_s=40)
    assert durable.newest(aws, uri, layout.run_id).complete
