"""What each model is built of, and what data it is built for: built alone, without training."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from jobs.catalogue import MODELS
from tests.once import Once

PROGRAM = Path(__file__).with_name("built_models.py")
KINDS = ("digits", "sequences", "key points")
GOES_WITH = {
    "rnn": {"digits", "sequences"},
    "lstm": {"digits", "sequences"},
    "rbm": {"digits", "key points"},
    "key-points": {"key points"},
    "key-point-specialists": {"key points"},
}
"""Any other model goes with the digits alone."""
STAGES = {"dbn": 4, "ensemble": 6, "key-point-specialists": 8}


@pytest.fixture(scope="module")
def told(jobs_in, once: Once) -> dict:
    def make(folder: Path) -> dict:
        done = jobs_in(folder).run(program=(str(PROGRAM), str(folder)))
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads((folder / "told.json").read_text())

    return once("built", make)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_is_built_or_refused_in_its_first_stage_and_in_one_line(told, model: str, kind: str):
    found = told["outcomes"][model][KINDS.index(kind)]
    if kind in GOES_WITH.get(model, {"digits"}):
        assert found["error"] == ""
        assert found["stages"] == STAGES.get(model, 1)
    else:
        assert re.fullmatch(rf"(?!Traceback){model} .*(rows|targets|data).*", found["error"]), found["error"]
        assert found["stages"] == 0


@pytest.mark.parametrize("side", [8, 12, 15, 16, 28, 48])
@pytest.mark.parametrize("model", ["lenet", "cnn", "expressions", "key-points"])
def test_as_many_convolutions_as_a_picture_bears_and_no_more(told, model: str, side: int):
    said = told["convolved"][f"{model} {side}"]
    most = said.index(next(each for each in said if each))
    assert most >= 2
    expected = f"{model}: nothing is left of pictures of {side}x{side + 3} after {most + 1} convolutions"
    assert said == [""] * most + [f"{expected}: expected kernels for at most {most}"] * (6 - most)


def test_dropconnect_drops_the_weights_into_the_softmax_too(told):
    assert told["dropped"] == {"": [False, 0.75], "20": [False, 0.75]}


def test_sigmoids_begin_four_times_as_wide_unless_another_way_is_named(told):
    glorot = math.sqrt(6 / (64 + 50))
    wide, plain = told["widest"]["layered"], told["widest"]["layered, as told"]
    assert wide["hidden_1/kernel"] == pytest.approx(4 * glorot, rel=0.01)
    assert plain["hidden_1/kernel"] == pytest.approx(glorot, rel=0.01)
    assert told["widest"]["mlp"]["hidden/kernel"] == pytest.approx(4 * glorot, rel=0.01)
    for model in told["widest"].values():
        assert model["output/kernel"] == pytest.approx(math.sqrt(6 / (50 + 10)), rel=0.03)


def test_all_of_a_machines_weights_may_be_penalised(told):
    assert told["penalised"] == ["kernel", "visible_bias", "hidden_bias"]


def test_the_deck_mlps_seed_is_its_own(told):
    assert told["deck-mlp"] == {"same": True, "other": False, "untouched": True}
