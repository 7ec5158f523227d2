"""What a run wrote on this machine and is not home is spared, until it is given up."""

import json
import signal
import sqlite3

import psutil

from launcher import teardown
from launcher.commands import session
from launcher.domain import RunStatus
from tests.places.conftest import PATIENT


def test_two_ctrl_cs_end_the_job_at_once_and_what_it_wrote_stays(desk) -> None:
    launcher = desk.start(
        "launch",
        "--on",
        "local",
        desk.job("trap 'echo asked' TERM\necho w > $GPURUN_OUTPUT_DIR/w; echo begun\nwhile :; do sleep 0.05; done"),
    )
    desk.wait_for(lambda: "begun" in desk.stdout())
    launcher.send_signal(signal.SIGINT)
    desk.wait_for(lambda: "asked" in desk.stdout())
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(30) == 130
    assert "what is not home stays there" in desk.stderr()
    run = desk.run()
    assert run["status"] == "cancelled"
    folder = desk.state.here / "gpurun" / run["run_id"]
    assert f"what did not come home stays in {folder} on local" in desk.stderr()
    assert (folder / "output" / "w").read_text() == "w\n"
    desk.wait_for(lambda: not desk.processes(), 10)


def test_down_beside_its_launcher_removes_the_folder(desk) -> None:
    launcher = desk.start("launch", "--on", "local", desk.job("trap '' TERM\necho begun\nwhile :; do sleep 0.05; done"))
    desk.wait_for(lambda: "begun" in desk.stdout())
    done = desk.gpurun("down", "last", "--yes")
    assert done.returncode == 0, done.stderr
    assert launcher.wait(30) == 130
    assert desk.run()["status"] == "cancelled"
    assert desk.here() == []


def test_a_machine_that_shut_down_is_not_waited_for(desk) -> None:
    desk.gpurun("launch", "--on", "local", "--detach", desk.job(PATIENT))
    desk.wait_for(lambda: "begun" in desk.gpurun("logs", "last").stdout)
    folder = desk.state.here / "gpurun" / desk.run()["run_id"]
    supervisor = psutil.Process(json.loads((folder / "state").read_text())["supervisor"])
    supervisor.send_signal(signal.SIGTERM)  # as init does
    supervisor.wait(10)
    done = desk.gpurun("resume", "last", timeout_s=60)
    assert "its machine shut down" in done.stderr
    assert (desk.results() / "saved").read_text() == "saved\n"
    assert desk.here() == []


def test_a_job_whose_start_was_never_answered_is_not_taken_for_none(desk, monkeypatch) -> None:
    desk.gpurun("launch", "--on", "local", "--detach", desk.job(f"echo w > $GPURUN_OUTPUT_DIR/w; {PATIENT}"))
    desk.wait_for(lambda: "begun" in desk.gpurun("logs", "last").stdout)
    book = sqlite3.connect(desk.state.ledger)
    with book:
        book.execute("DELETE FROM events WHERE kind = 'job.started'")
    book.close()
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, desk.environment[name])
    with session.ledger() as journal, session.reporter() as reporter:
        live = session.live_run(journal.resolve("last"), journal, reporter)
        teardown.end(live, RunStatus.FAILED, reason="the line broke")
    run = desk.run()
    assert (desk.state.here / "gpurun" / run["run_id"] / "output" / "w").read_text() == "w\n"
