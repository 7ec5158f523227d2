"""`python -m jobs check`: four signs that a model can learn at all, before hours are spent on it.

All in float64 and on a few training rows, so that a gradient can be told from noise. Source: Karpathy's notes for
CS231n, Learning: gradient checks and sanity checks, two of which deck 2 has from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs import catalogue, inputs
from jobs.choice import Choice
from jobs.config import Config, resolve
from jobs.datasets.dataset import Dataset
from jobs.prepare import fitted, prepare
from jobs.stages import Stage

if TYPE_CHECKING:
    from jobs.network import Network

TINY_ROWS, TINY_STEPS, TINY_RATE = 10, 500, 0.005
TINY_COST = 0.05
"""What may be left of the first cost, after that many steps on the tiny subset."""
START_ROWS = 500
START_TOLERANCE = 0.25
L2_ADDED, L2_SMALL = 0.1, 0.001
"""The one is to be seen in the cost; under the other, millions of weights do not drown the differences in it."""
ENTRIES, TOLERANCE = 3, 1e-5
"""Of each variable; how far apart both gradients may be, as a share."""
HALF_STEPS = (1e-5, 1e-7)
"""What they are moved by: the shorter one is less exact, and meets fewer of the kinks that ReLU and pooling have."""
NUDGE = 0.01
"""Weights are moved a little first: zeros have no penalty, and ReLU no slope at 0."""
CHECK = (0, 3)
"""Tells the draws from those of the order, (seed, epoch), of augmentation and of the monitor."""
DRAWS = "contrastive_divergence"
"""The objective whose cost draws its own rows: it has no gradient in the sense of differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked."""

    stage: Stage
    config: Config
    dataset: Dataset

    def network(self, **changes: Any) -> Network:
        """A new one with its first weights, under other settings."""
        from jobs import network  # noqa: PLC0415  # it imports Keras

        config = replace(self.config, **changes)
        model = self.stage.build(config)
        self.stage.begin(model, {})
        return network.build(config, model, self.stage.objective, self.dataset.scale)

    def nudged(self, **changes: Any) -> Network:
        """The same, all weights moved a little."""
        made, random = self.network(**changes), np.random.default_rng([self.config.seed, *CHECK])
        for variable in made.model.trainable_variables:
            variable.assign(variable.numpy() + random.normal(0, NUDGE, variable.shape))
        return made

    def rows(self, made: Network, count: int) -> Any:
        """The first training rows, on the device."""
        return made.rows(self.dataset.train_x[:count], self.dataset.train_y[:count])


Finding = tuple[bool | None, str]
"""Whether all is well, None where it cannot be told, and the figures."""


def check(model: str, options: Mapping[str, Any]) -> int:
    """Print each sign; the exit status is 1 where one is bad. Raises `JobError`."""
    subject = _subject(resolve(model, {**options, "floatx": "float64", "augment": "none"}, None))
    print(f"{model} on {subject.dataset}", flush=True)
    failed = 0
    for examine in CHECKS:
        fine, said = examine(subject)
        failed += fine is False
        print(f"{ {True: 'ok', False: 'failed', None: 'left out'}[fine]:9} {said}", flush=True)
    return 1 if failed else 0


def _subject(config: Config) -> Subject:
    """The first stage that has a cost in the usual sense, else the first."""
    dataset, config, _ = prepare(config)
    dataset = inputs.apply(inputs.fit(config.inputs, dataset), dataset)
    stages = catalogue.stages_of(catalogue.find(config.model), fitted(config, dataset))
    stage = next((each for each in stages if each.objective != DRAWS), stages[0])
    dataset = stage.select(dataset, {})
    return Subject(stage=stage, config=fitted(stage.config, dataset), dataset=dataset)


def overfits(subject: Subject) -> Finding:
    """A few rows can be learned by heart."""
    made = subject.network(
        batch_size=TINY_ROWS, optimizer=Choice("adam"), learning_rate=TINY_RATE, reduction="mean", l1=0.0, l2=0.0
    )
    rows, functions = subject.rows(made, TINY_ROWS), made.functions
    before = made.evaluate(rows)
    order = np.tile(np.arange(TINY_ROWS, dtype=np.int32), TINY_STEPS)
    rates = np.full(TINY_STEPS, TINY_RATE, str(made.optimizer.learning_rate.dtype))
    functions.advance(
        rows, functions.put(order), 0, TINY_STEPS, functions.put(rates), functions.put(np.zeros_like(rates))
    )
    functions.wait()
    after = made.evaluate(rows)
    wanted = before.cost * (1 - TINY_COST if subject.stage.objective == DRAWS else TINY_COST)
    said = f"{TINY_ROWS} rows by heart: cost {before.cost:.4g}, after {TINY_STEPS} steps {after.cost:.4g}"
    return after.cost <= wanted, f"{said}; expected at most {wanted:.3g}"


def penalty_counts(subject: Subject) -> Finding:
    """A higher penalty, a higher cost."""
    costs = []
    for l2 in (0.0, L2_ADDED):
        made = subject.nudged(l1=0.0, l2=l2)
        verdict = made.evaluate(subject.rows(made, START_ROWS))
        costs.append(verdict.cost)
    return costs[1] > costs[0], f"penalty: cost {costs[0]:.6g} without, {costs[1]:.6g} with l2={L2_ADDED}"


def starts_at_chance(subject: Subject) -> Finding:
    """At first no class is likelier than another: the mean cost is log(classes)."""
    classes = subject.config.classes
    if not classes or subject.stage.objective == DRAWS:
        return None, "cost at the start: there are no classes to guess"
    made = subject.network(reduction="mean", l1=0.0, l2=0.0)
    verdict = made.evaluate(subject.rows(made, START_ROWS))
    chance = math.log(classes)
    said = f"cost at the start: {verdict.cost:.4f}, by chance log({classes}) = {chance:.4f}"
    return abs(verdict.cost - chance) <= START_TOLERANCE * chance, f"{said}, {verdict.cost / chance - 1:+.0%}"


def gradients_are_right(subject: Subject) -> Finding:
    """The gradients are those of central differences: (cost(w + h) - cost(w - h)) / 2h."""
    if subject.stage.objective == DRAWS:
        return None, "gradients: the cost draws rows of its own, which differences would follow"
    if subject.config.backend == "torch":
        return None, "gradients: on PyTorch Keras multiplies float64 in float32, too coarse for differences"
    from jobs import network  # noqa: PLC0415  # it imports Keras

    made = subject.nudged(reduction="sum", l1=0.0, l2=L2_SMALL)  # Keras takes means in float32 on JAX
    rows, first = subject.rows(made, TINY_ROWS), network.variables(made)
    slopes = made.functions.gradients(rows)
    random = np.random.default_rng([subject.config.seed, *CHECK])
    worst, where, looked_at = 0.0, "", 0
    largest = max(float(np.abs(slope).max()) for slope in slopes)
    for variable, slope in zip(made.model.trainable_variables, slopes, strict=True):
        for entry in _entries(slope, random):
            exact = float(slope[entry])
            numeric = min(
                (_difference(made, first, rows, variable, entry, step) for step in HALF_STEPS),
                key=lambda found: abs(found - exact),
            )
            apart = abs(numeric - exact) / max(abs(numeric), abs(exact), 1e-3 * largest)
            looked_at += 1
            if apart >= worst:
                worst, where = apart, f"{variable.path}{list(entry)}: {exact:.8g}, by differences {numeric:.8g}"
    return worst <= TOLERANCE, f"gradients of {looked_at} weights: at most {worst:.1e} apart, at {where}"


def _difference(
    made: Network, first: Mapping[str, NDArray[Any]], rows: Any, variable: Any, entry: tuple[int, ...], step: float
) -> float:
    """The central difference of the cost by one weight."""
    after, before = (_moved(made, first, rows, variable, entry, each) for each in (step, -step))
    return (after - before) / (2 * step)


def _moved(
    made: Network, first: Mapping[str, NDArray[Any]], rows: Any, variable: Any, entry: tuple[int, ...], step: float
) -> float:
    """The cost with one weight moved; the draws of dropout are the same each time."""
    from jobs import network  # noqa: PLC0415  # it imports Keras

    network.restore(made, first)
    values = np.array(first[f"model/{variable.path}"])
    values[entry] += step
    variable.assign(values)
    return made.functions.cost_and_gradients(rows)[0]


def _entries(slope: NDArray[Any], random: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """The steepest, and some others."""
    chosen = {int(np.abs(slope).argmax()), *random.integers(0, slope.size, ENTRIES - 1).tolist()}
    for flat in sorted(chosen):
        yield tuple(int(index) for index in np.unravel_index(flat, slope.shape))


CHECKS: tuple[Callable[[Subject], Finding], ...] = (overfits, penalty_counts, starts_at_chance, gradients_are_right)
