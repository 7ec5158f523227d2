"""A network, and the functions of its backend that train and judge it.

This module imports Keras: only after `runtime.start`.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from jobs import penalties
from jobs.choice import Choice
from jobs.config import Config
from jobs.errors import JobError
from jobs.full_batch import FullBatch
from jobs.optimizers import catalogue as optimizers
from jobs.second_order import catalogue as second_order

EVALUATE_NUMBERS = 2**20
"""How many numbers of input are judged at once: between two such, a request to stop is seen."""


class Rows(NamedTuple):
    """Rows on the device, as the network sees them."""

    x: Any  # (rows, *input_shape)
    y: Any  # (rows,) classes, or (rows, targets)
    w: Any = None  # (rows,) what each row counts; None: all the same


class Stretch(NamedTuple):
    """Some batches of an epoch."""

    order: Any  # (rows,) of the epoch, on the device
    first: int
    last: int
    """The one after the last that is meant."""
    rates: Any  # (batches,) of the epoch
    momenta: Any  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a backend makes its functions of."""

    model: keras.Model
    optimizer: keras.Optimizer
    momentum: Any
    """The optimiser's momentum, a variable that the momentum's schedule sets; None where it has none."""
    batch_size: int
    cost: Callable[[Rows], Any]
    """What a batch costs, penalties and all: what is made small."""
    judge: Callable[[Any, Any], Any]
    """(x, y) to the sums over the rows of costs, misses and counts, and the penalty, (4,)."""
    answer: Callable[[Any], Any]
    """x to the network's outputs."""
    compiled: bool
    """False: one operation after the other, as DebugMode wants it."""


class Functions(Protocol):
    """What a backend makes of them."""

    def put(self, array: NDArray[Any]) -> Any:
        """The array on the device."""

    def advance(self, rows: Rows, order: Any, first: int, last: int, rates: Any, momenta: Any) -> None:
        """Train on the batches first .. last - 1 of `order`; rates and momenta are the epoch's."""

    def judge(self, x: Any, y: Any) -> NDArray[Any]:
        """The sums over these rows of costs, misses and counts, and what the penalties add to the cost, (4,)."""

    def answer(self, x: Any) -> NDArray[Any]:
        """The network's outputs for these rows."""

    def gradients(self, rows: Rows) -> Sequence[NDArray[Any]]:
        """Of the cost of these rows, by each of the model's trainable variables."""

    def cost_and_gradients(self, rows: Rows) -> tuple[float, Sequence[NDArray[Any]]]:
        """What they cost, and the same gradients."""

    def wait(self) -> None:
        """Until what was asked for is done: time is measured up to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a training works with."""

    model: keras.Model
    optimizer: keras.Optimizer
    objective: ModuleType
    functions: Functions
    scaled: Callable[[Any], Any]
    """What a data set holds, on the device, to what the network sees."""
    config: Config
    full_batch: FullBatch | None = None
    """The method that takes the place of the optimiser, where one is asked for that looks at every row."""

    def rows(self, x: NDArray[Any], y: NDArray[Any], w: NDArray[Any] | None = None) -> Rows:
        """These rows on the device, scaled once and for all: the steps only gather them."""
        put = self.functions.put
        targets = y.astype(np.int32) if np.issubdtype(y.dtype, np.integer) else y
        return Rows(self.scaled(put(x)), put(targets), None if w is None else put(w.astype(np.float32)))

    def advance(self, rows: Rows, stretch: Stretch, stop: Callable[[], bool]) -> int:
        """Train on the batches of a stretch, and say which is the next: a full-batch step is given up on `stop`."""
        if self.full_batch:
            return stretch.first + self.full_batch.advance(rows, stretch.last - stretch.first, stop)
        self.functions.advance(rows, *stretch)
        self.functions.wait()
        return stretch.last

    def evaluate(self, rows: Rows) -> Verdict:
        """Cost and error over these rows."""
        return self._verdict(rows, [self._judge(chunk) for chunk in _chunks(rows)])

    def evaluate_unless(self, rows: Rows, stop: Callable[[], bool]) -> Verdict | None:
        """The same; None when `stop` said so on the way."""
        judged = []
        for chunk in _chunks(rows):
            if stop():
                return None
            judged.append(self._judge(chunk))
        return self._verdict(rows, judged)

    def _judge(self, chunk: Rows) -> list[float]:
        """The sums over a chunk of costs, misses and counts, and the penalty."""
        return cast("list[float]", self.functions.judge(chunk.x, chunk.y).tolist())

    def _verdict(self, rows: Rows, judged: list[list[float]]) -> Verdict:
        """On `rows`, by what was found of their chunks."""
        cost, misses, counts, _ = (sum(each) for each in zip(*judged, strict=True))
        cost = cost if self.config.reduction == "sum" else cost / int(rows.x.shape[0])
        penalty = judged[-1][-1]
        return Verdict(cost + penalty, float(self.objective.error_of(misses / max(counts, 1))))

    def answers(self, x: NDArray[Any]) -> NDArray[Any]:
        """The outputs for rows as a data set holds them, in chunks."""
        size = max(64, EVALUATE_NUMBERS // int(np.prod(x.shape[1:])))
        chunks = [x[first : first + size] for first in range(0, len(x), size)]
        return np.concatenate([self.functions.answer(self.scaled(self.functions.put(chunk))) for chunk in chunks])


def _chunks(rows: Rows) -> Iterator[Rows]:
    """As many at a time as are judged at once; all of them as they are, where they are few enough."""
    size, count = max(64, EVALUATE_NUMBERS // int(np.prod(rows.x.shape[1:]))), int(rows.x.shape[0])
    if count <= size:
        yield rows
        return
    for first in range(0, count, size):
        yield Rows(rows.x[first : first + size], rows.y[first : first + size])


class Verdict(NamedTuple):
    """How a network does on some rows."""

    cost: float
    """Their sum or their mean, as the settings have it, and the penalties."""
    error: float


def build(config: Config, model: keras.Model, objective: str, scale: float) -> Network:
    """The network around `model`, its functions made by the backend that Keras runs on."""
    chosen = Choice("sgd") if config.optimizer.name in second_order.METHODS else config.optimizer
    optimizer = optimizers.make(chosen.name, config.learning_rate, chosen.options)
    optimizer.build(model.trainable_variables)
    kind = importlib.import_module(f"jobs.objectives.{objective}")
    floatx = str(model.compute_dtype)
    penalised = penalties.penalised(model.trainable_variables, biases=config.penalised == "all")
    how = cast("penalties.Reduction", config.penalty)

    def scaled(x: Any) -> Any:
        return ops.cast(x, floatx) if scale == 1 else ops.cast(x, floatx) * ops.cast(scale, floatx)

    def penalty() -> Any:
        first = config.l1 * penalties.l1(penalised, how) if config.l1 else 0.0
        return first + config.l2 * penalties.l2(penalised, how) if config.l2 else first

    def cost(rows: Rows) -> Any:
        costs = kind.costs(model, rows.x, rows.y, training=True)
        if rows.w is not None:
            costs = costs * ops.cast(rows.w, costs.dtype)
        total = ops.sum(costs)
        if config.reduction == "mean":
            total = total / rows.x.shape[0]  # Keras's own mean is of float32 on JAX, whatever it is of
        return total + ops.cast(penalty(), total.dtype) if config.l1 or config.l2 else total

    def judge(x: Any, y: Any) -> Any:
        sums = [ops.sum(ops.cast(part, "float32")) for part in kind.judge(model, x, y)]
        return ops.stack([*sums, ops.cast(penalty(), "float32")])

    parts = Parts(
        model=model,
        optimizer=optimizer,
        momentum=optimizers.momentum_variable(optimizer),
        batch_size=config.batch_size,
        cost=cost,
        judge=judge,
        answer=lambda x: model(x, training=False),
        compiled=config.mode != "DebugMode",
    )
    backend = importlib.import_module(f"jobs.backends.{keras.backend.backend()}")
    functions = cast("Functions", backend.compiled(parts))
    full_batch = None
    if config.optimizer is not chosen:
        method = second_order.make(config.optimizer.name, config.optimizer.options)
        full_batch = FullBatch(method=method, model=model, functions=functions)
    return Network(
        model=model,
        optimizer=optimizer,
        objective=kind,
        functions=functions,
        scaled=scaled,
        config=config,
        full_batch=full_batch,
    )


def weights(model: keras.Model) -> dict[str, NDArray[Any]]:
    """The model's variables by their paths, such as `hidden/kernel` (784, 300), but for its seed generators."""
    return {v.path: _array(v) for v in model.variables if not v.path.endswith("seed_generator_state")}


def variables(network: Network) -> dict[str, NDArray[Any]]:
    """Every variable of model and optimiser, by role and path."""
    arrays = {name: _array(variable) for name, variable in _named(network).items()}
    return arrays | network.full_batch.arrays() if network.full_batch else arrays


def restore(network: Network, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give them back what `variables` read; raises `JobError` where one is missing or has another shape."""
    for name, variable in _named(network).items():
        _assign(variable, name, arrays)
    if network.full_batch:
        network.full_batch.restore(arrays)


def set_weights(model: keras.Model, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give the model what `weights` read; raises `JobError` where one is missing or has another shape."""
    for variable in model.variables:
        if not variable.path.endswith("seed_generator_state"):
            _assign(variable, variable.path, arrays)


def _array(variable: Any) -> NDArray[Any]:
    return np.array(ops.convert_to_numpy(variable))


def _named(network: Network) -> dict[str, Any]:
    pairs = [(f"model/{path}", variable) for path, variable in _paths(network.model)]
    pairs += [(f"optimizer/{variable.path}", variable) for variable in network.optimizer.variables]
    named = dict(pairs)
    if len(named) < len(pairs):
        raise RuntimeError("two variables have the same path: give every layer a name of its own")
    return named


def _paths(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Each variable's path; seed generators by their turn, since Keras numbers all that were ever made in a process.

    So a later stage, whose process made others before, finds its own again when a new process goes on from there.
    """
    turns = itertools.count(1)
    for variable in model.variables:
        generates = variable.path.endswith("seed_generator_state")
        yield f"seed_generator_{next(turns)}" if generates else variable.path, variable


def _assign(variable: Any, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    if name not in arrays:
        raise JobError(f"there is no {name} among {', '.join(sorted(arrays)) or 'them'}: is this another model's?")
    if arrays[name].shape != tuple(variable.shape):
        raise JobError(
            f"{name} has the shape {arrays[name].shape}, the model on this data {tuple(variable.shape)}: "
            f"is --data the data set that it was trained on?"
        )
    variable.assign(arrays[name])
