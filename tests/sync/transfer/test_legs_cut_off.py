"""Legs whose machine is taken, whose time is up, or who are told to stop: what is kept and what is begun anew."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.agent.job import supervised
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout
from tests.sync.transfer.legs import RECORD, leg, output_of, progress, record, run

SECOND = RemoteLayout("second-machine")
A = 'echo a >> ../data/executed; echo result > "$GPURUN_OUTPUT_DIR/result"'
C = "echo c >> ../data/executed"


class Begun:
    """Tells the test that a leg has come to a point, with the leg's process number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def tell(self) -> str:
        return f'echo $$ > "{self.path}"'

    def wait(self) -> int:
        assert select.select([self.reader], [], [], 20)[0], "the leg did not come so far"
        return int(os.read(self.reader, 32))


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    found = Begun(tmp_path / "begun")
    yield found
    os.close(found.reader)


def slow(begun: Begun, trap: str) -> str:
    """Waits to be ended on the first machine; on another one tells what it finds there."""
    return f"""
        echo b >> ../data/executed
        if [ $MACHINE = 2 ]; then
            ls -A "$GPURUN_OUTPUT_DIR" "$GPURUN_CHECKPOINT_DIR"
            exit 0
        fi
        trap '{trap}' TERM
        echo half > "$GPURUN_OUTPUT_DIR/half"; echo half > "$GPURUN_CHECKPOINT_DIR/half"
        {begun.tell()}
        while :; do sleep 0.02; done
    """


def end_of(connection: Any, layout: Any) -> tuple[Any, str]:
    follower = stream.follow(lambda: connection, layout)
    log = b"".join(follower)
    return follower.report, log.decode()


def carry_over(connection: Any, layout: Any) -> None:
    """What goes to the next machine: checkpoint and output."""
    for here, there in ((layout.output, SECOND.output), (layout.checkpoint, SECOND.checkpoint)):
        shutil.copytree(connection.home / here, connection.home / there)


def executed(connection: Any, layout: Any) -> list[str]:
    return (connection.home / layout.data / "executed").read_text().split()


def until_gone(pid: int) -> None:
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, f"{pid} lives"
        time.sleep(0.01)


@pytest.mark.parametrize("trap", ["echo saved; exit 0", "exit 7", ""])
def test_a_trial_that_is_cut_off_is_begun_anew_and_the_others_are_kept(
    connection: Any, layout: Any, job: Any, begun: Begun, trap: str
) -> None:
    legs = [leg("a", A), leg("b", slow(begun, trap)), leg("c", C)]
    remote_agent.start(connection, layout, job(legs=legs, env={"MACHINE": "1"}, grace_s=2.5))
    first = begun.wait()
    asked = time.monotonic()
    remote_agent.signal(connection, layout, "TERM", why="interruption")
    report, log = end_of(connection, layout)
    assert time.monotonic() - asked < 2.5
    until_gone(first)
    assert (report.exit_status, report.ended_by) == (143, "interruption")
    assert log.rstrip().endswith("it was cut off: the job was asked to end")
    assert ("saved" in log) == ("saved" in trap)
    cut = record(connection, layout, "b")
    assert (cut["state"], cut["again"]) == ("failed", 0)
    assert cut["usage"]["elapsed_s"] > 0
    assert executed(connection, layout) == ["a", "b"]
    assert progress(connection, layout)["finished"] == ["a/1"]

    carry_over(connection, layout)
    kept = (output_of(connection, SECOND, "a") / RECORD).read_bytes()
    report, log = run(connection, SECOND, job(legs=legs, env={"MACHINE": "2"}))
    assert report.exit_status == 0, log
    assert executed(connection, SECOND) == ["b", "c"]
    assert (output_of(connection, SECOND, "a") / RECORD).read_bytes() == kept
    assert "gpurun: leg 1 of 3, a, repeat 1 of 1: finished before (done), kept\n" in log
    assert "gpurun: leg 2 of 3, b, repeat 1 of 1: begun anew, since it was cut off\n" in log
    assert "half" not in log
    assert [record(connection, SECOND, name)["again"] for name in "abc"] == [0, 1, 0]
    assert [record(connection, SECOND, name)["state"] for name in "abc"] == ["done"] * 3


def test_a_machine_that_dies_without_a_word_costs_the_trial_it_was_at(
    connection: Any, layout: Any, job: Any, begun: Begun
) -> None:
    legs = [leg("a", A), leg("b", slow(begun, "")), leg("c", C)]
    remote_agent.start(connection, layout, job(legs=legs, env={"MACHINE": "1"}, grace_s=60.0))
    first = begun.wait()
    carry_over(connection, layout)
    remote_agent.signal(connection, layout, "KILL")
    report, _ = end_of(connection, layout)
    assert report.exit_status == 137
    until_gone(first)
    report, log = run(connection, SECOND, job(legs=legs, env={"MACHINE": "2"}))
    assert report.exit_status == 0, log
    assert executed(connection, SECOND) == ["b", "c"]
    assert record(connection, SECOND, "b")["again"] == 1


@pytest.mark.parametrize("harm", ["record cut short", "record gone", "progress rubbish", "progress gone"])
def test_what_did_not_arrive_whole_is_done_again(connection: Any, layout: Any, job: Any, harm: str) -> None:
    legs = [leg("a", A), leg("c", C)]
    run(connection, layout, job(legs=legs))
    carry_over(connection, layout)
    path = output_of(connection, SECOND, "a") / RECORD
    state = connection.home / SECOND.checkpoint / "legs/state.json"
    match harm:
        case "record cut short":
            path.write_bytes(path.read_bytes()[:-20])
        case "record gone":
            path.unlink()
        case "progress rubbish":
            state.write_text('{"begun": [1], "finished": 3}')
        case "progress gone":
            state.unlink()
    report, log = run(connection, SECOND, job(legs=legs))
    assert report.exit_status == 0, log
    assert executed(connection, SECOND) == (["a"] if "record" in harm else ["a", "c"])
    assert record(connection, SECOND, "a")["again"] == (1 if "record" in harm else 0)


def test_a_failed_trial_is_not_tried_again_elsewhere(connection: Any, layout: Any, job: Any) -> None:
    legs = [leg("a", "echo a >> ../data/executed; exit 3"), leg("c", C)]
    run(connection, layout, job(legs=legs))
    carry_over(connection, layout)
    report, log = run(connection, SECOND, job(legs=legs))
    assert report.exit_status == 1
    assert not (connection.home / SECOND.data / "executed").exists()
    assert "a, repeat 1 of 1: finished before (failed), kept\n" in log


def test_time_that_is_up_ends_the_leg_and_those_after_it(connection: Any, layout: Any, job: Any, begun: Begun) -> None:
    legs = [leg("b", slow(begun, "exit 0")), leg("c", C)]
    remote_agent.start(connection, layout, job(legs=legs, env={"MACHINE": "1"}, deadline_in_s=3.0, grace_s=1.0))
    begun.wait()
    report, log = end_of(connection, layout)
    assert (report.exit_status, report.ended_by) == (143, "deadline")
    assert record(connection, layout, "b")["reason"].startswith("it was cut off")
    assert not output_of(connection, layout, "c").exists()
    assert "leg 2 of 2" not in log


def test_a_checkpoint_is_asked_of_the_leg_alone(connection: Any, layout: Any, job: Any, begun: Begun) -> None:
    legs = [leg("a", f"trap 'echo saved; exit 0' USR1; {begun.tell()}; while :; do sleep 0.02; done"), leg("c", "true")]
    remote_agent.start(connection, layout, job(legs=legs))
    begun.wait()
    assert remote_agent.ask_checkpoint(connection, layout) == 1
    report, log = end_of(connection, layout)
    assert report.exit_status == 0
    assert "saved\n" in log


def test_a_leg_outlives_its_supervisor_and_can_still_be_ended(
    connection: Any, layout: Any, job: Any, begun: Begun
) -> None:
    remote_agent.start(connection, layout, job(legs=[leg("b", slow(begun, ""))], env={"MACHINE": "1"}, grace_s=60.0))
    leg_pid = begun.wait()
    home = str(connection.home / layout.home)
    assert supervised(home)
    driver = psutil.Process(leg_pid).ppid()
    os.kill(psutil.Process(driver).ppid(), signal.SIGKILL)
    until = time.monotonic() + 10
    while supervised(home):
        assert time.monotonic() < until, "the legs hold the supervisor's lock"
        time.sleep(0.01)
    assert remote_agent.report(connection, layout).state == "running"
    remote_agent.signal(connection, layout, "KILL")
    until_gone(leg_pid)
    until_gone(driver)
