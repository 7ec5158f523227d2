"""The agent removes a run's folder, and nothing else, once the job there has ended."""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from launcher.agent.job import job_lives, started_ticks
from launcher.domain import Device, FloatX, LegOrder
from launcher.errors import TransferError
from launcher.ports import Connection
from launcher.sync import remote_agent
from launcher.sync.layout import RemoteLayout
from launcher.sync.pipes import PipeLines
from launcher.sync.remote_agent import AgentJob

RUN = RemoteLayout("digits-20261121-120000-abcde")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    lines = PipeLines(tmp_path)
    yield lines.control.fresh(1.0)
    lines.close()


def job(script: str, legs: Sequence[LegOrder] = ()) -> AgentJob:
    return AgentJob(
        script=script,
        legs=legs,
        device="cpu",  # type: ignore[arg-type]
        floatx="float32",  # type: ignore[arg-type]
        grace_s=60.0,
        deadline_in_s=0.0,
        results_grace_s=0.0,
        lease_s=0.0,
        owned=False,
        notices=False,
    )


def test_a_running_job_is_killed_first(connection, tmp_path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    remote_agent.start(connection, RUN, job(f"trap '' TERM; echo $$ > {gate}; while :; do sleep 0.1; done"))
    pid = int(gate.read_text())
    remote_agent.discard(connection, RUN, remove=True)
    assert not (tmp_path / RUN.home).exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("dead", [("supervisor",), ("supervisor", "job")])
def test_no_leg_outlives_it_whoever_was_killed_before(connection, tmp_path, dead) -> None:
    """A leg has a process group of its own."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    legs = [LegOrder(name="cpu", device=Device.CPU, floatx=FloatX.FLOAT32)]
    remote_agent.start(connection, RUN, job(f"trap '' TERM; echo $$ > {gate}; while :; do sleep 0.1; done", legs))
    leg = psutil.Process(int(gate.read_text()))
    state = json.loads((tmp_path / RUN.state).read_text())
    for each in dead:
        process = psutil.Process(state[each])
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert leg.is_running()
    remote_agent.discard(connection, RUN, remove=True)
    leg.wait(10)
    assert not (tmp_path / RUN.home).exists()


def test_another_s_process_in_a_session_of_the_same_number_is_left_alone(connection, tmp_path) -> None:
    remote_agent.start(connection, RUN, job("true"))
    remote_agent.discard(connection, RUN, remove=False)
    with psutil.Popen(["sleep", "60"], start_new_session=True) as stranger:
        state = {"state": "running", "supervisor": stranger.pid, "job": stranger.pid, "job_started": "another boot:1"}
        (tmp_path / RUN.state).write_text(json.dumps(state))
        remote_agent.discard(connection, RUN, remove=True)
        assert stranger.poll() is None
        stranger.kill()


def test_it_is_harmless_when_done_twice_and_where_nothing_is(connection) -> None:
    remote_agent.discard(connection, RUN, remove=True)
    remote_agent.start(connection, RUN, job("true"))
    remote_agent.discard(connection, RUN, remove=True)
    remote_agent.discard(connection, RUN, remove=True)


def test_without_remove_the_folder_stays(connection, tmp_path) -> None:
    remote_agent.start(connection, RUN, job("echo w > $GPURUN_OUTPUT_DIR/w; sleep 60"))
    remote_agent.discard(connection, RUN, remove=False)
    assert remote_agent.report(connection, RUN).state == "done"
    assert (tmp_path / RUN.output).is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "agent-0123456789abcdef",
        "store",
        "../other-20261121-120000-abcde",
        "plain",
        "a/b-20261121-120000-abcde",
    ],
)
def test_what_is_no_run_s_folder_is_refused(connection, tmp_path, name) -> None:
    other = tmp_path / "other-20261121-120000-abcde"
    other.mkdir()
    remote_agent.report(connection, RUN)  # the agent is there
    before = sorted(path.name for path in (tmp_path / "gpurun").iterdir())
    with pytest.raises(TransferError, match="no run's folder"):
        remote_agent.discard(connection, RemoteLayout(name), remove=True)
    assert other.is_dir()
    assert sorted(path.name for path in (tmp_path / "gpurun").iterdir()) == before


def test_a_link_in_the_place_of_the_folder_is_not_followed(connection, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    remote_agent.report(connection, RUN)
    (tmp_path / RUN.home).symlink_to(elsewhere)
    with pytest.raises(TransferError, match="a link"):
        remote_agent.discard(connection, RUN, remove=True)
    assert (elsewhere / "file").exists()


def test_without_proc_a_number_that_is_used_again_is_a_stranger_s(monkeypatch) -> None:
    """As on macOS; a run that was running when its machine rebooted ends nobody else's process."""
    monkeypatch.setattr("launcher.agent.job.os.path.exists", lambda _path: False)
    mine = {"job": os.getpid(), "job_started": started_ticks(os.getpid())}
    assert time.strptime(mine["job_started"], "%a %b %d %H:%M:%S %Y")
    assert job_lives(mine)
    assert not job_lives(dict(mine, job_started="Mon Jan  1 00:00:00 2001"))
    with psutil.Popen(["true"]) as ended:
        ended.wait()
    assert started_ticks(ended.pid) == ""
