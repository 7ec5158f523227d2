"""Trials and folds: Keras imported once, one's failure is not the others', and a request to stop reaches them all."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.once import Once

PROGRAM = Path(__file__).with_name("trials_session.py")


@pytest.fixture(scope="module")
def session(jobs_in, once: Once):
    """The server's lines, with the last trials stopped once both that may run have begun."""
    return once("trials", lambda folder: run_trials(folder, jobs_in))


def run_trials(folder: Path, jobs_in):
    with jobs_in(folder).start(program=(str(PROGRAM),)) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "long\n":
                break
        else:
            raise AssertionError("".join(lines) + process.stderr.read()[-3000:])
        running = [folder / f"long/trial-{number}/output.txt" for number in (1, 2)]
        while process.poll() is None and not all(
            path.exists() and "Cost / err" in path.read_text() for path in running
        ):
            signal.sigtimedwait([], 0.05)
        process.send_signal(signal.SIGUSR1)
        saved = [folder / f"checkpoints/trial-{number}/checkpoint.npz" for number in (1, 2)]
        until = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until and not all(path.exists() for path in saved):
            signal.sigtimedwait([], 0.05)
        (folder / "saved.txt").write_text(f"{sum(path.exists() for path in saved)} {process.poll()}")
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate()
    return folder, "".join(lines), rest, complaints


def statuses(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"^status (\d+)$", text, re.MULTILINE)]


def test_a_trial_that_fails_takes_no_other_along(session):
    folder, told, _, _ = session
    assert statuses(told) == [1, 0]
    for number, arguments in ((1, "logistic --epochs 3 --seed 1"), (4, "deck-mlp --epochs 1 --mode DebugMode")):
        assert re.search(rf"^{number}/6 {arguments}: error 0\.\d{{4}}$", told, re.MULTILINE), told
    for number in (2, 3):
        assert re.search(rf"^{number}/6 .*: exit status 1, see output/trial-{number}/output.txt$", told, re.MULTILINE)
    assert re.search(r"^4 trials: error mean 0\.\d{4}, deviation 0\.\d{4}, from 0\.\d{4} to ", told, re.MULTILINE)
    assert "lower the learning rate 1e+30" in (folder / "output/trial-2/output.txt").read_text()


def test_nan_guard_names_the_operation_of_the_first_nan(session):
    told = (session[0] / "output/trial-3/output.txt").read_text()
    assert re.search(r"^error: NanGuardMode: the first NaN or infinity comes out of \S+$", told, re.MULTILINE), told
    assert "Traceback" not in told
    assert not (session[0] / "output/trial-3/result.json").exists()


def test_modes_change_how_it_is_computed_not_what_is_learnt(session):
    found = [json.loads((session[0] / f"output/trial-{number}/result.json").read_text()) for number in (4, 5)]
    assert [each["settings"]["mode"] for each in found] == ["DebugMode", "FAST_COMPILE"]
    assert found[0]["cost"] == pytest.approx(found[1]["cost"], rel=1e-3)


def test_the_same_trial_gives_the_same_bytes(session):
    one, other = (session[0] / name / "weights.pkl" for name in ("output/trial-1", "again/trial-6"))
    assert one.read_bytes() == other.read_bytes()


def test_keras_is_imported_once(session):
    folder, told, _, _ = session
    assert len(list(folder.glob("*/trial-*/output.txt"))) == 10
    assert set((folder / "imports.txt").read_text().split()) == {re.search(r"^server (\d+)$", told, re.MULTILINE)[1]}


def test_folds_are_told_by_their_own_rows(session):
    _, told, _, _ = session
    found = dict(re.findall(r"^\d/2 (fold \d/2): validation_error (0\.\d{4})$", told, re.MULTILINE))
    assert found.keys() == {"fold 1/2", "fold 2/2"}
    assert "2 trials: validation_error mean 0." in told


def test_a_request_to_save_reaches_every_trial_and_they_go_on(session):
    assert (session[0] / "saved.txt").read_text() == "2 None"


def test_a_request_to_stop_reaches_every_trial_and_each_leaves_a_checkpoint(session):
    folder, _, rest, _ = session
    assert statuses(rest) == [128 + signal.SIGTERM]
    for number in (1, 2):
        told = (folder / f"long/trial-{number}/output.txt").read_text()
        assert "Stopped by SIGTERM at iteration i=" in told
        assert (folder / f"checkpoints/trial-{number}/checkpoint.npz").exists()
        assert re.search(rf"^{number}/3 .*: exit status 143, see ", rest, re.MULTILINE)
    assert not (folder / "checkpoints/trial-3").exists()  # it had not begun
