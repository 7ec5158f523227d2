"""Every optimiser against NumPy, by the decks' formulas, on each backend that is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.errors import JobError
from jobs.optimizers import catalogue
from tests.once import Once

REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("trajectories.py")
STEPS = 50
SHAPES = {"layer/kernel": (3, 4), "layer/bias": (4,)}
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}


def gradient_series(rng: np.random.Generator, shape: tuple[int, ...]):
    """Noise about a slope that turns on the way, of very different size from weight to weight; one is always 0."""
    slope = np.cos(np.linspace(0, 5, STEPS)).reshape(-1, *[1] * len(shape))
    series = (slope + rng.normal(size=(STEPS, *shape))) * 10.0 ** rng.uniform(-3, 2, shape)
    series[(slice(None), *[0] * len(shape))] = 0
    return series


@pytest.fixture(scope="module")
def given() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {"rates": np.linspace(0.3, 0.01, STEPS), "momentums": np.linspace(0.5, 0.99, STEPS)}
    for path, shape in SHAPES.items():
        arrays[f"start/{path}"] = rng.normal(size=shape)
        arrays[f"gradients/{path}"] = gradient_series(rng, shape)
    return arrays


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def ran(request: pytest.FixtureRequest, given, once: Once):
    """By floatx: what the script found on that backend."""
    backend, python = request.param, PYTHONS[request.param]
    if not python.exists():
        pytest.skip(f"{python.relative_to(REPOSITORY)} is not in the checkout")

    def make(folder: Path) -> dict[str, dict[str, np.ndarray]]:
        np.savez(folder / "given.npz", **given)
        environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
        argv = [python, SCRIPT, folder / "given.npz", folder]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {floatx: dict(np.load(folder / f"{floatx}.npz")) for floatx in ("float32", "float64")}

    return once(f"optimizers-{backend}", make)


# The formulas, each as the deck or the paper writes it: (weight, gradients, rates, momentums) -> weight after each step


def sgd(w, gradients, rates, momentums):
    for gradient, rate in zip(gradients, rates, strict=True):
        w = w - rate * gradient
        yield w


def momentum(w, gradients, rates, momentums):
    dw = np.zeros_like(w)
    for gradient, rate, mu in zip(gradients, rates, momentums, strict=True):
        v = dw
        dw = mu * v - rate * gradient
        w = w + dw
        yield w


def momentum_average(w, gradients, rates, momentums):
    m = np.zeros_like(w)
    for gradient, rate, beta in zip(gradients, rates, momentums, strict=True):
        w, m = w - rate * m, beta * m + (1 - beta) * gradient
        yield w


def nesterov(w, gradients, rates, momentums):
    v = np.zeros_like(w)
    for gradient, rate, mu in zip(gradients, rates, momentums, strict=True):
        before = v
        v = mu * before - rate * gradient
        w = w - mu * before + (1 + mu) * v
        yield w


def adagrad(w, gradients, rates, momentums):
    cache = np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        cache = cache + gradient**2
        w = w - rate * gradient / (np.sqrt(cache) + 1e-10)
        yield w


def rmsprop(w, gradients, rates, momentums):
    cache = np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        cache = 0.9 * cache + 0.1 * gradient**2
        w = w - rate * gradient / (np.sqrt(cache) + 1e-10)
        yield w


def rmsprop_delayed(w, gradients, rates, momentums):
    ms = np.ones_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        w, ms = w - rate * gradient / np.sqrt(ms), 0.9 * ms + 0.1 * gradient**2
        yield w


def rmsprop_keras(w, gradients, rates, momentums):
    velocity = np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = 0.9 * velocity + 0.1 * gradient**2
        w = w - rate * gradient / np.sqrt(velocity + 1e-7)
        yield w


def adadelta(w, gradients, rates, momentums):
    of_gradients, of_steps = np.zeros_like(w), np.zeros_like(w)
    for gradient, rate in zip(gradients, rates, strict=True):
        of_gradients = 0.95 * of_gradients + 0.05 * gradient**2
        dw = -np.sqrt(of_steps + 1e-6) / np.sqrt(of_gradients + 1e-6) * gradient
        of_steps = 0.95 * of_steps + 0.05 * dw**2
        w = w + rate * dw
        yield w


def adam(w, gradients, rates, momentums):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        corrected = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = w - corrected * m / (np.sqrt(v) + 1e-7)
        yield w


def sign_agreement(w, gradients, rates, momentums):
    ada_rates, last = np.ones_like(w), None
    for gradient, rate in zip(gradients, rates, strict=True):
        w = w - rate * ada_rates * gradient
        if last is not None:
            ada_rates = ada_rates.copy()
            ada_rates[last * gradient > 0] += 0.05
            ada_rates[last * gradient < 0] *= 0.95
            ada_rates = np.clip(ada_rates, 0.8, 1.3)  # the limits that the script gives; the deck has none
        last = gradient
        yield w


FORMULAS = {
    "sgd": sgd,
    "momentum": momentum,
    "momentum-average": momentum_average,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "rmsprop-delayed": rmsprop_delayed,
    "rmsprop-keras": rmsprop_keras,
    "adadelta": adadelta,
    "adam": adam,
    "sign-agreement": sign_agreement,
}


def off_by(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in a weight, as a share of the way that the weight has been."""
    scale = np.maximum(np.abs(expected), np.abs(expected - expected[0])).max(axis=0)
    return float((np.abs(found - expected) / scale).max())


@pytest.mark.parametrize("name", catalogue.OPTIMIZERS)
def test_computes_the_decks_formula(name: str, ran, given):
    for path in SHAPES:
        series = given[f"gradients/{path}"], given["rates"], given["momentums"]
        expected = np.stack(list(FORMULAS[name](given[f"start/{path}"], *series)))
        assert off_by(ran["float64"][f"{name}/kept/{path}"], expected) < 1e-9
        assert off_by(ran["float32"][f"{name}/kept/{path}"], expected) < 1e-6
        assert not np.array_equal(expected[0], expected[-1])


@pytest.mark.parametrize("name", catalogue.OPTIMIZERS)
def test_goes_on_from_saved_arrays_to_the_same_bytes(name: str, ran):
    for floatx, arrays in ran.items():
        whole = {key.removeprefix(f"{name}/whole/"): key for key in arrays if key.startswith(f"{name}/whole/")}
        assert len(whole) >= 4  # two weights, the step's number, the rate
        for path, key in whole.items():
            assert arrays[key].tobytes() == arrays[f"{name}/resumed/{path}"].tobytes(), path
            assert arrays[key].dtype.kind in "iu" or arrays[key].dtype == floatx, path


def test_options_are_checked_and_the_nearest_named():
    catalogue.check("sign-agreement", {"increase": 0.1, "largest": 3})
    for name, options, message in (
        ("adamm", {}, "unknown optimizer 'adamm'; did you mean 'adam'?"),
        ("momentum", {"momentun": 0.5}, "optimizer momentum has no option 'momentun'; did you mean 'momentum'?"),
        ("sgd", {"momentum": 0.5}, "optimizer sgd has no option 'momentum': it has none"),
        ("nesterov", {"momentum": 1}, "optimizer nesterov: momentum is 1: expected a number of at least 0, below 1"),
        ("adam", {"epsilon": "small"}, "optimizer adam: epsilon is 'small': expected a number above 0"),
        ("adam", {"beta_1": float("nan")}, "optimizer adam: beta_1 is nan: expected a number of at least 0, below 1"),
        ("rmsprop", {"decay": True}, "optimizer rmsprop: decay is True: expected a number of at least 0, below 1"),
    ):
        with pytest.raises(JobError) as raised:
            catalogue.check(name, options)
        assert str(raised.value) == message


def test_every_optimiser_is_described_and_its_defaults_are_allowed():
    assert set(catalogue.OPTIMIZERS) == set(catalogue.OPTIONS) == set(FORMULAS)
    for name, options in catalogue.OPTIONS.items():
        catalogue.check(name, options)
        assert set(catalogue.meanings(name)) == set(options)
    assert {"momentum", "momentum-average", "nesterov"} == catalogue.WITH_MOMENTUM


def test_the_catalogue_is_read_without_keras():
    program = (
        "import sys; from jobs.optimizers import catalogue; from jobs import schedules; print('keras' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
