"""A Boltzmann machine of 6 x 4 units against enumeration of all its states, on each backend that is at hand."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from tests.once import Once

REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("machines.py")
PYTHONS = {
    "tensorflow": Path(sys.executable),
    "jax": REPOSITORY / ".venv-jax/bin/python",
    "torch": REPOSITORY / ".venv-torch/bin/python",
}
REPEATS = 3_000
DEVIATIONS = 5
"""How far a mean of draws may be from what it should be, in standard deviations: once in 1.7 million."""


def states(units: int) -> np.ndarray:
    return np.array(list(itertools.product([0.0, 1.0], repeat=units)))


@dataclass
class Machine:
    """The same in NumPy: everything is a sum over all 64 x 16 states."""

    kernel: np.ndarray
    visible_bias: np.ndarray
    hidden_bias: np.ndarray
    visible = states(6)
    hidden = states(4)

    @cached_property
    def weight(self) -> np.ndarray:
        """exp(-E), (64, 16)."""
        return np.exp(self.weights_of(self.visible))

    def weights_of(self, rows: np.ndarray) -> np.ndarray:
        """-E of each row with each hidden state, (rows, 16)."""
        return rows @ self.kernel @ self.hidden.T + (rows @ self.visible_bias)[:, None] + self.hidden @ self.hidden_bias

    def hidden_given(self, rows: np.ndarray) -> np.ndarray:
        """(rows, 16)."""
        weight = np.exp(self.weights_of(rows))
        return weight / weight.sum(axis=1, keepdims=True)

    @cached_property
    def marginal(self) -> np.ndarray:
        """P(v), (64,)."""
        return self.weight.sum(axis=1) / self.weight.sum()

    def walked(self, rows: np.ndarray, k: int) -> np.ndarray:
        """P(v after k steps | row), (rows, 64)."""
        visible_given = (self.weight / self.weight.sum(axis=0)).T
        reached = self.hidden_given(rows) @ visible_given
        for _ in range(k - 1):
            reached = reached @ self.hidden_given(self.visible) @ visible_given
        return reached

    def statistics(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """<v h>, v and <h> of each row: what the log-likelihood's gradient is made of."""
        means = self.hidden_given(rows) @ self.hidden
        return {"kernel": rows[:, :, None] * means[:, None, :], "visible_bias": rows, "hidden_bias": means}


@pytest.fixture(scope="module")
def given() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {
        "kernel": rng.normal(size=(6, 4)),
        "visible_bias": rng.normal(size=6) / 2,
        "hidden_bias": rng.normal(size=4) / 2,
        "states": states(6),
        "rows": np.array([[1, 0, 1, 1, 0, 0], [0, 1, 0, 0, 1, 1], [0.2, 0.9, 0.5, 0.0, 1.0, 0.7]]),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()} | {"repeats": np.array(REPEATS)}


@pytest.fixture(scope="module")
def machine(given) -> Machine:
    return Machine(*(given[name].astype(np.float64) for name in ("kernel", "visible_bias", "hidden_bias")))


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def found(request: pytest.FixtureRequest, given, once: Once) -> dict[str, np.ndarray]:
    python = PYTHONS[request.param]
    if not python.exists():
        pytest.skip(f"{python.relative_to(REPOSITORY)} is not in the checkout")

    def make(folder: Path) -> dict[str, np.ndarray]:
        np.savez(folder / "given.npz", **given)
        done = subprocess.run(
            [python, SCRIPT, folder / "given.npz", folder / "found.npz"],
            env={**os.environ, "KERAS_BACKEND": request.param, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return dict(np.load(folder / "found.npz"))

    return once(f"machines-{request.param}", make)


def places(rows: np.ndarray) -> np.ndarray:
    """Which of the 64 states each row is."""
    return (rows @ 2 ** np.arange(5, -1, -1)).astype(int)


def assert_drawn_from(rows: np.ndarray, probabilities: np.ndarray) -> None:
    shares = np.bincount(places(rows), minlength=64) / len(rows)
    spread = np.sqrt(probabilities * (1 - probabilities) / len(rows))
    assert np.all(np.abs(shares - probabilities) <= DEVIATIONS * (spread + 1 / len(rows)))


def test_free_energy_is_minus_the_log_of_the_sum_over_hidden_states(found, machine):
    np.testing.assert_allclose(found["free_energy"], -np.log(machine.weight.sum(axis=1)), rtol=1e-5, atol=1e-5)


def test_rows_are_judged_by_their_mean_field_reconstruction_and_without_a_draw(found, given, machine):
    rows = given["rows"].astype(np.float64)
    means = machine.hidden_given(rows) @ machine.hidden
    chance = 1 / (1 + np.exp(-(means @ machine.kernel.T + machine.visible_bias)))
    expected = -(rows * np.log(chance) + (1 - rows) * np.log(1 - chance)).sum(axis=1)
    np.testing.assert_allclose(found["judged"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["verdicts"], np.full((2, 2), expected.mean()), rtol=1e-5)
    assert not found["seed_moved_by_judging"].any()


def test_many_rows_are_judged_in_chunks_and_between_two_it_can_be_stopped(found):
    np.testing.assert_allclose(found["in_chunks"], found["verdicts"], rtol=1e-5)
    assert found["stopped"]


@pytest.mark.parametrize(("k", "tolerance"), [(1, 2e-4), (2, 2e-6)])
def test_the_gradient_is_that_of_the_data_less_that_of_the_draws(found, given, machine, k: int, tolerance: float):
    """Over 9,000 rows a mean in float32 is right to four digits only; over 30, to all of them."""
    rows = machine.statistics(given["rows"].astype(np.float64))
    made_up = machine.statistics(found[f"led_to_{k}"].astype(np.float64))
    for name, of_rows in rows.items():
        log_likelihood = of_rows.mean(axis=0) - made_up[name].mean(axis=0)
        np.testing.assert_allclose(found[f"slope_{k}/{name}"], -log_likelihood, rtol=0, atol=tolerance)


@pytest.mark.parametrize("k", [1, 2])
def test_draws_of_k_steps_are_distributed_as_enumerated(found, given, machine, k: int):
    expected = machine.walked(given["rows"].astype(np.float64), k)
    for row, made_up in enumerate(np.split(found[f"made_up_{k}"], len(given["rows"]))):
        assert_drawn_from(made_up, expected[row])


def test_the_mean_gradient_is_the_enumerated_one(found, given, machine):
    rows = given["rows"].astype(np.float64)
    data, model, reached = machine.statistics(rows), machine.statistics(machine.visible), machine.walked(rows, 1)
    for name, of_rows in data.items():
        mean = np.einsum("rs,s...->r...", reached, model[name])
        variance = np.einsum("rs,s...->r...", reached, model[name] ** 2) - mean**2
        spread = np.sqrt(variance.sum(axis=0) / REPEATS) / len(rows)
        away = found[f"slope_1/{name}"] + (of_rows - mean).mean(axis=0)
        assert np.all(np.abs(away) <= DEVIATIONS * spread + 2e-4)


def test_two_steps_are_further_from_the_data_than_one(machine, given):
    """The tests above tell CD-1 from CD-2: the two distributions are apart by more than the draws' spread."""
    one, two = (machine.walked(given["rows"].astype(np.float64), k) for k in (1, 2))
    assert np.any(np.abs(one - two) > 3 * DEVIATIONS * np.sqrt(one / REPEATS))


def test_persistent_chains_end_distributed_as_the_machine(found, machine):
    assert_drawn_from(found["chain"], machine.marginal)
    assert_drawn_from(found["chain_next"], machine.marginal)
    assert not np.array_equal(found["chain"], found["chain_next"])


def test_persistent_chains_give_the_gradients_second_term(found, machine):
    data = machine.statistics(np.ones((1, 6)))["kernel"].mean(axis=0)
    model = machine.statistics(found["pcd_made_up"].astype(np.float64))["kernel"].mean(axis=0)
    np.testing.assert_allclose(found["pcd_step"], -(data - model), rtol=1e-4, atol=2e-5)
    assert not found["chain_moved"].any()


def test_persistent_chains_go_on_from_where_they_were_whatever_the_data(found):
    np.testing.assert_array_equal(found["pattern_after"], found["pattern"])


def test_chain_and_draws_are_in_the_checkpoint(found):
    names = {"model/rbm/kernel", "model/rbm/chain", "model/seed_generator_1"}
    assert names <= set(found["names"])
    assert names <= set(found["moved"])
    assert not found["not_resumed"].size
