"""The launcher of a run on this machine dies: the run does not, and resume brings it home."""

import signal

import pytest

from tests.places.conftest import WHOLE, WORK

MOMENTS = [
    ("phase", {"name": "plan"}),
    ("instance", {}),
    ("phase", {"name": "sync"}),
    ("job.started", {}),
    ("phase", {"name": "run"}),
    ("job.done", {}),
    ("fetched", {}),
    ("ending", {}),
    ("vacated", {}),
]


@pytest.mark.parametrize(
    ("kind", "wanted"), MOMENTS, ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value
)
def test_killed_at_any_moment_it_goes_on_with_resume(desk, kind, wanted) -> None:
    launcher = desk.start("launch", "--on", "local", desk.job(WORK))
    desk.wait_for_event(kind, **wanted)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    if desk.run()["status"] != "succeeded":
        done = desk.gpurun(*desk.run()["next"].split()[1:])
        assert done.returncode == 0, done.stderr
    assert desk.run()["status"] == "succeeded"
    assert (desk.results() / "w.txt").read_text() == "weights\n"
    assert (desk.results() / "gpurun" / "log.txt").read_text() == WHOLE
    assert desk.here() == []
    assert sum(kind == "job.started" for kind, _ in desk.events()) <= 2
