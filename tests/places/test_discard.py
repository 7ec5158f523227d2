"""The agent removes a run's folder, and nothing else, once the job there has ended."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def job(script: str) -> AgentJob:
    return AgentJob(
        script=script,
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
