"""What a training is told, and what becomes of it: rows held out, inputs changed, methods that look at every row."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.once import Once

PROGRAM = Path(__file__).with_name("settings_session.py")


@pytest.fixture(scope="module")
def session(jobs_in, once: Once):
    def make(folder: Path):
        done = jobs_in(folder).run(program=(str(PROGRAM),))
        assert done.returncode == 0, done.stderr[-3000:]
        return folder, done

    return once("settings", make)


def status(session, name: str) -> int:
    return int(re.search(rf"^status {name}: (\d+)$", session[1].stdout, re.MULTILINE)[1])


def told(session, name: str) -> str:
    """What it printed."""
    before = session[1].stdout.partition(f"status {name}: ")[0]
    return before.rpartition("\nstatus ")[2].partition("\n")[2]


def result(session, name: str) -> dict:
    return json.loads((session[0] / name / "result.json").read_text(encoding="utf-8"))


def test_flags_without_effect_are_named_and_the_rest_is_done(session):
    assert status(session, "plain") == 0
    assert "without effect here: allow_gc\n" in session[1].stderr


@pytest.mark.parametrize("name", ["fold", "hold-out"])
def test_rows_held_out_are_judged_beside_the_test_rows(session, name: str):
    assert status(session, name) == 0
    assert {"validation_error", "validation_cost", "error"} < result(session, name).keys()
    assert re.search(r"1,1[45]\d training rows", told(session, name)) or name == "hold-out"
    assert "held out: " in told(session, name)


def test_rows_weighted_by_importance_say_how_many_they_are_worth(session):
    assert status(session, "row-weights") == 0
    assert re.search(r"Rows weighted by importance: they estimate as well as [\d,]+ like ones", session[1].stdout)


@pytest.mark.parametrize("name", ["standardised", "whitened", "smaller"])
def test_evaluate_does_to_the_inputs_what_the_training_did(session, name: str):
    assert (status(session, name), status(session, f"evaluate-{name}")) == (0, 0)
    assert f"Test error: {result(session, name)['error']:.2%}\n" in told(session, f"evaluate-{name}")
    assert result(session, name)["error"] < 0.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cut-inputs", r"error: the weights are for whitened inputs, and whitened/inputs.npz cannot be read: "),
        ("no-inputs", r"error: the weights are for standardised inputs, and standardised/inputs.npz cannot be read: "),
        ("no-rows-to-choose-by", r"error: early_stopping needs rows to choose by: say --hold-out 0.1, say"),
        ("holds-none", r"error: hold_out 0.0001 of 1,438 training rows, each class by itself, is none"),
        ("holds-all", r"error: hold_out 0.9999 of 1,438 training rows, each class by itself, is all"),
        ("too-many-folds", r"error: 5000 folds of 1,438 rows: expected at least 2, and at most as many as "),
        ("white-sequences", r"error: inputs whitened is for rows of numbers: these are 2-dimensional"),
        ("rows-of-steps", r"error: ensemble takes rows of numbers: those of these data have the shape "),
        ("lbfgs-with-dropout", r"error: this network's cost is another each time, from dropout or the like"),
        ("lbfgs-with-batch-norm", r"error: batch_norm is '1': expected something like False"),
        ("lbfgs-batch-norm", r"error: this network has batch normalisation, whose averages each look "),
    ],
)
def test_what_cannot_be_is_told_in_a_line(session, name: str, expected: str):
    assert status(session, name) == 2
    assert re.search(f"^{expected}", session[1].stderr, re.MULTILINE), session[1].stderr
    assert "Traceback" not in session[1].stderr


def test_a_method_that_looks_at_every_row_lowers_the_cost_with_each_step(session):
    assert status(session, "lbfgs") == 0
    lines = (session[0] / "lbfgs" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    costs = [row["value"] for row in map(json.loads, lines) if row["name"] == "cost"]
    assert len(costs) == 2
    assert costs[1] < costs[0]
