"""Layers, first weights and penalties against NumPy, on each backend that is at hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs import initializers
from jobs.errors import JobError
from jobs.seeds import seed_for
from tests.once import Once

REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("keras_numbers.py")
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}


@pytest.fixture(scope="module", params=list(PYTHONS))
def found(request: pytest.FixtureRequest, once: Once) -> dict[str, np.ndarray]:
    """What the script found on that backend."""
    backend, python = request.param, PYTHONS[request.param]
    if not python.exists():
        pytest.skip(f"{python.relative_to(REPOSITORY)} is not in the checkout")

    def make(folder: Path) -> dict[str, np.ndarray]:
        environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder)}
        environment |= {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [python, SCRIPT, folder / "found.npz"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with np.load(folder / "found.npz") as archive:
            return {name: archive[name] for name in archive.files}

    return once(f"parts-{backend}", make)


def test_dropout_keeps_units_as_they_are_in_training_and_scales_them_at_prediction(found):
    x, first = found["dropout/x"], found["dropout/first"]
    kept = first != 0
    assert np.array_equal(first[kept], x[kept])  # not divided by p_keep
    assert kept.mean() == pytest.approx(0.8, abs=0.006)  # 4.7 deviations
    assert kept.mean(axis=0).std() == pytest.approx(0.02, abs=0.006)  # each unit and row for itself
    assert kept.mean(axis=1).std() == pytest.approx(0.0253, abs=0.006)
    for name in ("predicted", "by default"):
        assert np.abs(found[f"dropout/{name}"] - np.float32(0.8) * x).max() < 1e-6


def test_keras_own_dropout_is_the_inverted_one(found):
    x, inverted = found["dropout/x"], found["dropout/inverted"]
    kept = inverted != 0
    assert np.abs(inverted[kept] - x[kept] / 0.8).max() < 1e-5
    assert np.array_equal(found["dropout/inverted predicted"], x)


def test_masks_are_drawn_anew_each_step_from_the_layers_seed(found):
    assert not np.array_equal(found["dropout/first"], found["dropout/second"])
    assert not np.array_equal(found["dropout/first"], found["dropout/other seed"])
    for call in ("first", "second"):
        assert np.array_equal(found[f"dropout/{call}"], found[f"dropout/twin {call}"])


def test_a_seed_generator_that_was_put_back_goes_on_with_the_same_masks(found):
    assert np.array_equal(found["dropout/third"], found["dropout/resumed"])
    assert not np.array_equal(found["dropout/third"], found["dropout/second"])


def test_half_types_do_not_round_the_probability(found):
    assert found["dropout/half type"] == "bfloat16"
    assert set(np.unique(found["dropout/half"])) == {0.0, 1.0}
    assert found["dropout/half"].mean() == pytest.approx(
        0.8, abs=0.0015
    )  # bfloat16's nearest is 0.8008; 3.7 deviations


def test_dropconnect_drops_weights_one_mask_a_step_and_no_biases(found):
    kernel, bias = found["connect/kernel"], found["connect/bias"]
    assert np.abs(bias).min() > 0
    weights = [found[f"connect/{call}"] - bias for call in ("first", "second")]
    for each in weights:
        dropped = np.abs(each) < 1e-6
        assert np.abs(each - kernel)[~dropped].max() < 1e-6
        assert dropped.mean() == pytest.approx(0.25, abs=0.01)
    assert not np.array_equal(weights[0], weights[1])


def test_dropconnect_predicts_with_the_mean_weights(found):
    expected = found["connect/x"] @ (0.75 * found["connect/kernel"]) + found["connect/bias"]
    assert np.abs(found["connect/predicted"] - expected).max() < 1e-5
    assert np.abs(found["connect/relu"] - np.maximum(0.5 * found["connect/relu kernel"], 0)).max() < 1e-6


def test_models_with_them_train_and_come_back_from_a_file(found):
    assert all(line.endswith("True") for line in found["model/changed"]), found["model/changed"]
    seeds = [line for line in found["model/changed"] if "seed_generator_state" in line]
    assert len(seeds) == 2
    assert np.array_equal(found["model/predicted"], found["model/loaded"])
    assert found["model/kept"].tolist() == [0.8, 0.5, 1, 2]
    assert found["model/layers"].tolist()[1:] == ["drop", "connect", "block", "block_norm", "block_sigmoid"]


def test_batch_norm_comes_before_the_nonlinearity(found):
    linear = found["block/x"] @ found["block/kernel"]
    expected = np.maximum((linear - linear.mean(axis=0)) / np.sqrt(linear.var(axis=0) + 1e-3), 0)
    assert np.abs(found["block/trained"] - expected).max() < 1e-4
    assert len(found["block/refused"]) == 2
    assert "has a bias or an activation of its own" in found["block/refused"][0]


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("glorot", lambda n_in, n_out: np.sqrt(6 / (n_in + n_out))),
        ("glorot-sigmoid", lambda n_in, n_out: 4 * np.sqrt(6 / (n_in + n_out))),
        ("sqrt-n", lambda n_in, _: 1 / np.sqrt(n_in)),
    ],
)
def test_first_weights_are_uniform_as_wide_as_the_deck_says(found, name: str, largest):
    for drawn, n_in, n_out in ((found[f"first/{name}"], 300, 200), (found[f"window/{name}"], 25 * 30, 25 * 20)):
        a = largest(n_in, n_out)
        assert np.abs(drawn).max() == pytest.approx(a, rel=2e-3)
        assert np.abs(drawn).max() <= a * (1 + 1e-6)
        assert drawn.std() == pytest.approx(a / np.sqrt(3), rel=0.02)
        assert drawn.mean() == pytest.approx(0, abs=0.02 * a)


@pytest.mark.parametrize(("name", "deviation"), [("sqrt-n-normal", 1 / np.sqrt(300)), ("small", 0.01)])
def test_first_weights_are_normal_as_wide_as_the_deck_says(found, name: str, deviation: float):
    drawn = found[f"first/{name}"]
    assert drawn.std() == pytest.approx(deviation, rel=0.02)
    assert (np.abs(drawn) > 3 * deviation).mean() == pytest.approx(0.0027, abs=0.001)  # not cut off


@pytest.mark.parametrize("name", initializers.NAMES)
def test_the_seed_decides_the_first_weights(found, name: str):
    assert np.array_equal(found[f"first/{name}"], found[f"again/{name}"])
    assert np.array_equal(found[f"first/{name}"], found[f"other/{name}"]) == (name == "zeros")
    assert found["first/zeros"].any() == np.False_


def test_first_weights_are_the_same_numbers_on_every_backend_and_in_every_type(found):
    limit = (6 / 500) ** 0.5
    draws = {
        "small": np.random.default_rng(7).normal(0, 0.01, (300, 200)),
        "glorot": np.random.default_rng(7).uniform(-limit, limit, (300, 200)),
        "sqrt-n-normal": np.random.default_rng(7).normal(0, 300**-0.5, (300, 200)),
    }
    for name, numbers in draws.items():
        assert found[f"first/{name}"] == pytest.approx(numbers.astype(np.float32), rel=2e-7)
        assert np.array_equal(found[f"float64/{name}"], found[f"first/{name}"])
        assert found[f"bfloat16/{name}"] == pytest.approx(numbers, rel=2**-8)


def test_a_saved_network_names_no_initializer_of_ours(found):
    assert '"VarianceScaling"' in str(found["saved/config"])
    assert '"RandomNormal"' in str(found["saved/config"])
    assert "jobs" not in str(found["saved/config"])
    assert found["saved/same"] < 1e-6


def test_penalties_are_sums_or_the_means_of_each_tensor(found):
    tensors = [found[f"penalty/{number}"] for number in range(3)]
    for how, reduce in (("sum", np.sum), ("mean", np.mean)):
        assert found[f"penalty/l1 {how}"] == pytest.approx(sum(reduce(np.abs(each)) for each in tensors), rel=1e-5)
        assert found[f"penalty/l2 {how}"] == pytest.approx(sum(reduce(each**2) for each in tensors), rel=1e-5)
    assert found["penalty/none"] == 0


def test_what_is_penalised(found):
    kernels = ["depthwise_kernel", "kernel", "kernel", "pointwise_kernel", "recurrent_kernel"]
    assert found["penalised/False"].tolist() == kernels
    assert found["penalised/True"].tolist() == sorted(["bias"] * 3 + kernels)  # and no gamma or beta


def test_an_unknown_initializer_gets_the_nearest_name():
    with pytest.raises(JobError, match=re.escape("unknown initializer 'glorod'; did you mean 'glorot'?")):
        initializers.make("glorod", 0)


def test_each_layer_has_a_seed_of_its_own_that_stays():
    assert seed_for(0, "hidden") == seed_for(0, "hidden")
    seeds = {seed_for(seed, name) for seed in range(50) for name in ("hidden", "output", "drop")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_for(0, "hidden") == 962_960_356  # resumed runs and committed figures rely on it
