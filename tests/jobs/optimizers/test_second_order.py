"""Newton, conjugate gradient and L-BFGS against SciPy's, and stopped and gone on with."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import JobError
from jobs.second_order import catalogue, newton
from jobs.second_order.line_search import SUFFICIENT, Line, strong_wolfe

SCIPYS = {"newton": "trust-exact", "conjugate-gradient": "CG", "lbfgs": "L-BFGS-B"}


def rosenbrock(theta):
    return float(scipy.optimize.rosen(theta)), scipy.optimize.rosen_der(theta)


def logistic_regression(rows: int = 200, features: int = 12, classes: int = 3, l2: float = 0.1):
    """Softmax regression on drawn rows, (features * classes,) weights: the cost, with its penalty, and its gradient."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, features)) * np.linspace(0.2, 3, features)
    y = np.eye(classes)[(x @ rng.normal(size=(features, classes)) + rng.normal(size=(rows, classes))).argmax(axis=1)]

    def value_and_gradient(theta):
        weights = theta.reshape(features, classes)
        logits = x @ weights
        logits -= logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        value = -(y * (logits - log_sum)).sum() + l2 * (theta**2).sum()
        return float(value), (x.T @ (np.exp(logits - log_sum) - y) + 2 * l2 * weights).ravel()

    return value_and_gradient, np.zeros(features * classes)


def iterations(method, cost, theta, most: int = 500):
    """Every state and theta on the way."""
    state = method.start(theta, cost)
    yield state, theta
    while not state["done"] and state["iterations"] < most:
        state, theta = method.step(state, theta, cost)
        yield state, theta


PROBLEMS = {
    "rosenbrock": (rosenbrock, np.array([-1.2, 1.0, -1.2, 1.0, 0.7])),
    "logistic regression": logistic_regression(),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", catalogue.METHODS)
def test_comes_where_scipy_comes_in_about_as_many_iterations(name: str, problem: str):
    cost, theta = PROBLEMS[problem]
    *way, (state, found) = iterations(catalogue.make(name, {"tolerance": 1e-6}), cost, theta)
    values = [each["value"] for each, _ in way]
    assert all(after < before for before, after in itertools.pairwise(values))
    assert np.abs(state["gradient"]).max() <= 1e-6
    assert state["value"] == cost(found)[0]

    hessian = {"hess": lambda at: newton.by_differences(at, cost, 6e-6)} if name == "newton" else {}
    options = {"gtol": 1e-6} | ({"ftol": 0} if name == "lbfgs" else {})
    theirs = scipy.optimize.minimize(cost, theta, jac=True, method=SCIPYS[name], options=options, **hessian)
    np.testing.assert_allclose(found, theirs.x, atol=1e-5)
    assert state["iterations"] <= 2 * theirs.nit + 5, (state["iterations"], theirs.nit)
    if name != "newton":
        assert state["evaluations"] <= 2 * theirs.nfev + 10, (state["evaluations"], theirs.nfev)


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_goes_on_from_a_saved_state_to_the_same_bytes(name: str):
    cost, theta = PROBLEMS["rosenbrock"]
    method = catalogue.make(name, {})
    way = list(iterations(method, cost, theta))
    for cut in (0, 1, len(way) // 2, len(way) - 1):
        file = io.BytesIO()
        state, theta = way[cut]
        np.savez(file, theta=theta, **state)
        file.seek(0)
        loaded = dict(np.load(file, allow_pickle=False))
        theta, state = loaded.pop("theta"), loaded
        while not state["done"]:
            state, theta = method.step(state, theta, cost)
        assert theta.tobytes() == way[-1][1].tobytes()
        assert {each: np.asarray(array).tobytes() for each, array in state.items()} == {
            each: np.asarray(array).tobytes() for each, array in way[-1][0].items()
        }


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_a_state_keeps_its_shapes_and_nothing_is_changed_in_place(name: str):
    cost, theta = PROBLEMS["logistic regression"]
    method = catalogue.make(name, {})
    state = method.start(theta, cost)
    for _ in range(4):
        before = {each: np.array(array) for each, array in state.items()} | {"theta": theta.copy()}
        new, new_theta = method.step(state, theta, cost)
        for each, array in before.items():
            np.testing.assert_array_equal(array, {**state, "theta": theta}[each])
            if each != "theta":
                assert (np.shape(new[each]), np.asarray(new[each]).dtype) == (array.shape, array.dtype), each
        state, theta = new, new_theta


def test_newton_is_at_a_paraboloids_minimum_after_one_step():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(6, 6))
    matrix, minimum = root @ root.T + np.eye(6), rng.normal(size=6)

    def cost(theta):
        return float((theta - minimum) @ matrix @ (theta - minimum) / 2), matrix @ (theta - minimum)

    method = catalogue.make("newton", {}, hessian=lambda _: matrix)
    theta = rng.normal(size=6)
    state, found = method.step(method.start(theta, cost), theta, cost)
    np.testing.assert_allclose(found, theta - np.linalg.inv(matrix) @ cost(theta)[1], rtol=1e-9)  # the deck's formula
    assert (bool(state["done"]), int(state["iterations"]), int(state["evaluations"])) == (True, 1, 2)
    np.testing.assert_allclose(newton.by_differences(theta, cost, 6e-6), matrix, atol=1e-7)


def test_newton_goes_down_where_the_hessian_is_not_positive_definite():
    def cost(theta):  # a saddle at 0, minima at (0, 1) and (0, -1)
        a, b = theta
        return float(a**2 + b**4 - 2 * b**2), np.array([2 * a, 4 * b**3 - 4 * b])

    *_, (state, theta) = iterations(catalogue.make("newton", {}), cost, np.array([1.0, 0.1]))
    assert state["done"]
    np.testing.assert_allclose(np.abs(theta), [0, 1], atol=1e-5)
    flat = newton.damped(np.diag([1.0, 0.0]))  # nothing is known along the second
    assert np.linalg.eigvalsh(flat).min() > 0


def test_newton_is_refused_for_many_parameters():
    many = np.zeros(newton.LIMIT + 1)
    with pytest.raises(JobError, match=r"newton is for up to 3,000 parameters, the model has 3,001: lbfgs or"):
        catalogue.make("newton", {}).start(many, lambda theta: (0.0, theta))


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_ends_where_rounding_hides_what_is_lower(name: str):
    cost, theta = PROBLEMS["logistic regression"]

    def coarse(theta):  # as float32 gives it
        value, gradient = cost(theta)
        return float(np.float32(value)), gradient.astype(np.float32).astype(np.float64)

    options = {"tolerance": 0.0} | ({"difference": 5e-3} if name == "newton" else {})
    *_, (state, found) = iterations(catalogue.make(name, options), coarse, theta)
    assert state["done"]
    assert state["iterations"] < 100
    *_, (best, _) = iterations(catalogue.make("lbfgs", {"tolerance": 1e-9}), cost, theta)
    assert cost(found)[0] == pytest.approx(best["value"], rel=1e-5)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(1e-3, 100), st.sampled_from([0.1, 0.9]))
def test_a_line_search_finds_a_point_that_keeps_the_strong_wolfe_rules(waves, first_step: float, curvature: float):
    a, b, c, d = waves

    def cost(theta):  # waves on a bowl
        (t,) = theta
        value = t**2 - 4 * t + a * np.sin(t) + b * np.cos(2 * t) + c * np.sin(3 * t + d)
        slope = 2 * t - 4 + a * np.cos(t) - 2 * b * np.sin(2 * t) + 3 * c * np.cos(3 * t + d)
        return float(value), np.array([slope])

    value, gradient = cost([0.0])
    if abs(gradient[0]) < 1e-3:
        return
    line = Line(cost, np.zeros(1), -np.sign(gradient)).start(value, gradient)
    found = strong_wolfe(line, first_step, curvature)
    assert found is not None
    assert found.value <= value + SUFFICIENT * found.step * line.origin.slope
    assert abs(found.slope) <= curvature * abs(line.origin.slope) + 1e-9


def test_a_cost_that_is_no_number_shortens_the_step():
    def cost(theta):
        (t,) = theta
        return (t - 1) ** 2 if t < 2 else float("nan"), np.array([2 * (t - 1)])

    *_, (state, theta) = iterations(catalogue.make("lbfgs", {}), cost, np.array([-1000.0]))
    assert state["done"]
    np.testing.assert_allclose(theta, [1], atol=1e-5)


def test_options_are_checked():
    for name, options, message in (
        ("newtn", {}, "unknown method 'newtn'; did you mean 'newton'?"),
        ("lbfgs", {"histroy": 3}, "method lbfgs has no option 'histroy'; did you mean 'history'?"),
        ("lbfgs", {"history": 0}, "method lbfgs: history is 0: expected a whole number of at least 1"),
    ):
        with pytest.raises(JobError) as raised:
            catalogue.make(name, options)
        assert str(raised.value) == message
    assert set(catalogue.METHODS) == set(catalogue.OPTIONS)
