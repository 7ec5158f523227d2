"""Whether two legs computed the same: on real trainings, and on what weights from anywhere may look like."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from launcher import weights
from launcher.compare.assemble import LegRun, assemble
from launcher.compare.parity import cost_difference, parities, tolerances, weight_difference
from launcher.comparison import Leg, Parity, Point
from launcher.domain import Device, FloatX, RunId
from tests.compare import samples
from tests.compare.folders import USAGE, put

ROOT = Path(__file__).parents[2]
RUN = RunId("parity")
TRAINED = {
    "cpu-float32": (FloatX.FLOAT32, ""),
    "cpu-float64": (FloatX.FLOAT64, "--floatx float64"),
    "cpu-bfloat16": (FloatX.BFLOAT16, "--floatx bfloat16"),
    "again": (FloatX.FLOAT32, ""),
    "other-seed": (FloatX.FLOAT32, "--seed 1"),
    "other-seed-half": (FloatX.BFLOAT16, "--floatx bfloat16 --seed 1"),
    "other-rate": (FloatX.FLOAT32, "--learning-rate 0.0041"),
    "shorter": (FloatX.FLOAT32, "--epochs 1"),
    "other-units": (FloatX.FLOAT32, "--set hidden_units=299"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The trainings as legs of one run, in one process: TensorFlow takes seconds to import."""
    results = tmp_path_factory.mktemp("results")
    lines = [f"deck-mlp --data digits --epochs 2 {options}\n" for _, options in TRAINED.values()]
    (results / "trials.txt").write_text("".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "trials", "trials.txt"],
        cwd=results,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    legs = []
    for number, (name, (floatx, _)) in enumerate(TRAINED.items(), 1):
        leg = Leg(name=name, device=Device.CPU, floatx=floatx, place="local")
        output = results / "output" / f"trial-{number}"
        began_at = min(json.loads(line)["time"] for line in (output / "metrics.jsonl").read_text().splitlines()) - 0.5
        folder = put(results, leg, began_at=began_at, usage={**USAGE, "elapsed_s": 30.0})
        for path in output.iterdir():
            path.rename(folder / path.name)
        legs.append(leg)
    run = LegRun(legs=tuple(legs), run_id=RUN, results=results)
    return assemble(samples.request("parity", repeats=1, target=0.3), [run])


@pytest.fixture(scope="module")
def told(trained) -> dict[str, Parity]:
    return {parity.leg: parity for parity in trained.parities}


def test_a_real_training_is_gathered(trained):
    (trial,) = trained.legs[0].trials
    assert (trial.steps, trial.epochs, trial.samples, trial.device_told) == (56, 2, 1438, "cpu")
    assert [point.step for point in trial.points] == [0, 10, 20, 28, 38, 48]
    assert trial.notes == ()
    assert trial.ready_s == pytest.approx(0.5, abs=0.01)
    assert trial.train_s > trial.epoch_s * 2
    assert trial.warm_up_s == pytest.approx(trial.train_s - 2 * trial.epoch_s, rel=0.5)
    assert trial.samples_per_s == pytest.approx(1438 / trial.epoch_s)
    assert 0.5 < trial.target_s < 2
    assert dict(trial.versions)["keras"]
    assert trial.weights == "legs/cpu-float32/1/weights.pkl"


@pytest.mark.parametrize("name", ["cpu-float64", "cpu-bfloat16", "again"])
def test_right_trainings_agree(told, name):
    parity = told[name]
    assert (parity.reference, parity.exceeded, parity.untold, parity.holds) == ("cpu-float32", (), (), True)
    assert parity.bytes_equal is (name == "again")
    assert parity.largest_cost_difference < parity.tolerance / 4
    assert parity.largest_weight_difference < parity.weight_tolerance / 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other-seed", "the cost at step"),
        ("other-seed", "the weights of"),
        ("other-seed-half", "the cost at step"),
        ("other-seed-half", "the weights of"),
        ("other-rate", "the cost at step"),
        ("shorter", "it did 28 steps, cpu-float32 56"),
        ("other-units", "have the shape"),
    ],
)
def test_wrong_trainings_are_found_out(told, name, said):
    assert not told[name].holds
    assert any(said in each for each in told[name].exceeded), told[name]
    assert told[name].equal_steps is (name != "shorter")


def test_the_gpu_is_held_against_the_cpu_of_its_own_type():
    legs = samples.deck().legs
    found = {parity.leg: parity.reference for parity in parities(legs, {})}
    assert found == {
        "cpu-float64": "cpu-float32",
        "cpu-bfloat16": "cpu-float32",
        "gpu-float32": "cpu-float32",
        "gpu-float64": "cpu-float64",
        "gpu-bfloat16": "cpu-bfloat16",
    }
    gpus = [leg for leg in legs if leg.leg.device is Device.GPU and leg.leg.floatx is not FloatX.FLOAT32]
    assert {parity.reference for parity in parities(gpus, {})} == {"gpu-float64"}
    assert parities(legs[:1], {}) == ()


def test_points_of_a_sweep_are_compared_among_themselves():
    found = parities(samples.sweep().legs, {})
    assert len(found) == 7
    assert all(parity.leg == parity.reference.replace("cpu", "gpu") for parity in found)


def test_weights_that_did_not_come_home_or_are_none_are_told(tmp_path):
    cpu, gpu = samples.deck().legs[0], samples.deck().legs[3]
    (parity,) = parities([cpu, gpu], {})
    assert any("brought none home" in said for said in parity.untold)
    path = tmp_path / cpu.trials[0].weights
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(_Evil()))
    other = tmp_path / gpu.trials[0].weights
    other.parent.mkdir(parents=True)
    weights.save({"w": np.ones(3)}, other.with_suffix(".npz"))
    gpu = replace(gpu, trials=(replace(gpu.trials[0], weights=f"{gpu.trials[0].weights[:-3]}npz"),))
    (parity,) = parities([cpu, gpu], {cpu.run_id: tmp_path, gpu.run_id: tmp_path})
    assert any("cpu-float32's cannot be opened" in said for said in parity.untold)
    assert not (tmp_path / "pwned").exists()
    assert parity.largest_weight_difference is None


class _Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_a_cost_that_only_one_has_lost_is_told():
    cpu, gpu = samples.deck().legs[0], samples.deck().legs[3]
    lost = replace(gpu, trials=(replace(gpu.trials[0], diverged_at_step=400),))
    (parity,) = parities([cpu, lost], {})
    assert "its cost is NaN or infinite from step 400 on, that of cpu-float32 is not" in parity.exceeded


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(3)}, "it lacks b"),
        ({"a": np.ones(3), "b": np.ones(2), "c": np.ones(1)}, "has c too many"),
        ({"a": np.ones(3), "b": np.ones((2, 1))}, r"b have the shape \(2, 1\), expected \(2,\)"),
        ({"a": np.ones(3), "b": np.array(["x", "y"])}, "b are no real numbers"),
    ],
)
def test_other_names_shapes_and_kinds_are_told(arrays, message):
    with pytest.raises(ValueError, match=message):
        weight_difference(arrays, {"a": np.ones(3), "b": np.ones(2)})


def test_the_difference_of_weights_is_relative_and_by_array():
    expected = {"a": np.full(4, 1e-200), "b": np.full((2, 2), 1e200, np.float64), "zero": np.zeros(2)}
    assert weight_difference(expected, expected) == (0.0, "a")
    near = expected | {"b": np.full((2, 2), 1.01e200)}
    assert weight_difference(near, expected) == (pytest.approx(0.01 / 1.01), "b")
    near = expected | {"a": np.full(4, 2e-200)}
    assert weight_difference(near, expected) == (pytest.approx(0.5), "a")
    assert weight_difference(expected | {"zero": np.ones(2)}, expected) == (1.0, "zero")
    assert weight_difference(expected | {"a": np.full(4, np.nan)}, expected) == (np.inf, "a")
    random = np.random.default_rng(0)
    one, other = ({"w": random.normal(size=1000).astype(np.float32)} for _ in range(2))
    assert weight_difference(one, other)[0] == pytest.approx(2**0.5, rel=0.1)


def test_costs_are_compared_at_equal_steps_alone():
    trial = samples.deck().legs[0].trials[0]
    one = replace(trial, points=tuple(Point(at_s=s, epoch=0, step=s, cost=100.0 - s) for s in (0, 2, 4)))
    other = replace(trial, points=tuple(Point(at_s=s, epoch=0, step=s, cost=100.0 + s) for s in (1, 2, 3)))
    assert cost_difference(one, other) == (pytest.approx(4 / 102), 2)
    assert cost_difference(one, replace(trial, points=other.points[::2])) == (None, 0)


def test_tolerances_grow_with_the_root_of_the_steps_and_end():
    assert tolerances(FloatX.FLOAT32, 10) == tolerances(FloatX.FLOAT32, 1000) == (2e-3, 1e-2)
    assert tolerances(FloatX.FLOAT32, 4000) == (4e-3, 2e-2)
    assert tolerances(FloatX.BFLOAT16, 10**9) == (0.1, 0.5)
