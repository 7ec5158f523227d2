"""The loop: one stage's epochs, batches and lines, from wherever it stands to its end or to a request to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import early_stopping, schedules
from jobs import network as networks
from jobs.checkpoint import Place
from jobs.choice import Choice
from jobs.config import Config
from jobs.datasets.dataset import Dataset
from jobs.early_stopping import Rule
from jobs.epochs import Epochs
from jobs.errors import JobError
from jobs.network import Network, Rows, Stretch
from jobs.optimizers import catalogue as optimizers
from jobs.outputs import MetricsLog
from jobs.pace import Pace
from jobs.signals import StopRequest


@dataclass(slots=True, kw_only=True)
class Session:
    """One stage in training."""

    name: str
    config: Config
    dataset: Dataset
    network: Network
    epochs: Epochs
    place: Place
    stop: StopRequest
    metrics: MetricsLog
    save: Callable[[Session], None]
    """Writes a checkpoint, where one is wanted."""
    say: Callable[[str], None]
    order: NDArray[np.int32]
    """Of the epoch that it stands in."""
    best: dict[str, NDArray[Any]] = field(default_factory=dict)
    rule: Rule | None = None
    look: Callable[[Session, Rows], None] | None = None
    """Looks into the layers, every `monitor_every` epochs."""
    pace: Pace = field(default_factory=Pace)
    test: Rows
    valid: Rows | None = None

    @property
    def stopped(self) -> bool:
        """Whether somebody asked to stop."""
        return bool(self.stop.signal_number)


def run(session: Session) -> bool:
    """Train to the end of the stage; False when a request to stop came first. Raises `JobError` when it diverges."""
    place = session.place
    started, saved = time.perf_counter() - place.seconds, time.perf_counter()
    finished = place.judged or _report(session)
    if _turn(session):
        _look(session, session.epochs.rows(place.epoch - 1))
    while finished and place.epoch < session.config.epochs and not _ended_early(session):
        if session.stopped:  # while the stage was made ready: its first batches, compiling and all, would take seconds
            finished = False
            break
        if not place.batch:
            session.order = session.epochs.order(place.epoch)
        for _ in _epoch(session):
            place.seconds = time.perf_counter() - started
            if session.stop.save_asked or time.perf_counter() - saved > session.config.checkpoint_every_s:
                session.stop.save_asked = False
                session.save(session)
                saved = time.perf_counter()
        finished = not session.stopped
        place.seconds = time.perf_counter() - started
    session.epochs.close()
    return finished


def restore_best(session: Session) -> None:
    """Give the network the weights that early stopping kept; a checkpoint is to be written before, not after."""
    if session.best:
        networks.set_weights(session.network.model, session.best)


def start_rule(config: Config, state: dict[str, Any] | None) -> Rule | None:
    """The rule of early stopping that is asked for, as far as it had come."""
    if config.early_stopping.name == "none":
        return None
    rule = early_stopping.make(config.early_stopping.name, **config.early_stopping.options)
    rule.state = state or rule.state
    return rule


def _epoch(session: Session) -> Any:
    """The rest of the epoch, stretch by stretch, with its lines; ends where it is asked to stop."""
    place, config, batches = session.place, session.config, session.epochs.batches
    rows, functions = session.epochs.rows(place.epoch), session.network.functions
    order, rates, momenta = (functions.put(array) for array in (session.order, *_rates(session)))
    while place.batch < batches:
        last = min(place.batch + session.pace.batches, _next_line(place.batch, batches, config.print_every), batches)
        stretch = Stretch(order, place.batch, last, rates, momenta)
        reached = session.pace.run(stretch, lambda each: session.network.advance(rows, each, lambda: session.stopped))
        if reached == place.batch:
            return
        place.step, place.batch = place.step + reached - place.batch, reached
        place.judged = not _is_due(session)
        if not place.judged and not session.stopped:
            _report(session)
        ended = _turn(session)
        if ended:
            _look(session, rows)
        yield
        if ended or session.stopped:
            return


def _turn(session: Session) -> bool:
    """To the next epoch, where this one is trained and told of."""
    place = session.place
    ended = place.judged and place.batch == session.epochs.batches
    if ended:
        place.epoch, place.batch = place.epoch + 1, 0
    return ended


def _look(session: Session, rows: Rows) -> None:
    """Into the layers, if that is due after the epoch that ended."""
    if session.look and session.place.epoch % session.config.monitor_every == 0:
        session.look(session, rows)


def _next_line(batch: int, batches: int, print_every: int) -> int:
    """How far to go, so that the batch after which a line is due is the last one trained."""
    return -(-batch // print_every) * print_every + 1 if print_every else batches


def _is_due(session: Session) -> bool:
    """Whether a line tells of the batch that was just done."""
    place, every = session.place, session.config.print_every
    if place.batch == session.epochs.batches and (not every or session.rule):
        return True
    return bool(every) and (place.batch - 1) % every == 0


def _report(session: Session) -> bool:
    """Judge the network and tell; False when a request to stop came meanwhile: then nothing was told."""
    place, network = session.place, session.network
    verdict = network.evaluate_unless(session.test, lambda: session.stopped)
    choosing = network.evaluate_unless(session.valid, lambda: session.stopped) if session.valid else None
    if verdict is None or (session.valid and choosing is None):
        return False
    error = network.objective.ERROR
    values = {"cost": verdict.cost, error: verdict.error}
    line = f"Cost / err at iteration i={place.epoch}, j={place.batch - 1}: {verdict.cost:.3f} / {verdict.error:.3f}"
    if choosing:
        values |= {"validation_cost": choosing.cost, f"validation_{error}": choosing.error}
        line += f" (held out: {choosing.cost:.3f} / {choosing.error:.3f})"
    session.say(f"[{session.name}] {line}" if session.name else line)
    if not math.isfinite(verdict.cost):
        raise JobError(
            f"the cost is {verdict.cost}: lower the learning rate {session.config.learning_rate}", exit_code=1
        )
    prefix = f"{session.name}/" if session.name else ""
    session.metrics.write(
        step=place.step - 1, epoch=place.epoch, **{prefix + name: value for name, value in values.items()}
    )
    if session.rule and choosing and place.batch == session.epochs.batches:
        _observe(session, choosing.error)
    place.judged = True
    return True


def _observe(session: Session, error: float) -> None:
    """Tell the rule of early stopping; what is the best so far is kept."""
    assert session.rule is not None  # noqa: S101  # the caller looked
    verdict = session.rule.observe(session.place.epoch + 1, (session.place.epoch + 1) * session.epochs.batches, error)
    session.place.stopper = {**session.rule.state, "stop": verdict.stop}
    if verdict.improved:
        session.best = networks.weights(session.network.model)


def _ended_early(session: Session) -> bool:
    method = session.network.full_batch
    return bool(session.place.stopper and session.place.stopper["stop"]) or bool(method and method.done)


def _rates(session: Session) -> tuple[NDArray[Any], NDArray[Any]]:
    """The learning rate and the momentum of each of the epoch's batches, (batches,)."""
    config, batches = session.config, session.epochs.batches
    momentum = config.optimizer.options.get(
        "momentum", optimizers.OPTIONS.get(config.optimizer.name, {}).get("momentum", 0.0)
    )

    def course(schedule: Choice, initial: float) -> NDArray[Any]:
        first = session.place.epoch * batches
        rates = schedules.rates(
            schedule.name, schedule.options, initial, first, first + batches, batches, config.epochs * batches
        )
        return rates.astype(str(session.network.optimizer.learning_rate.dtype))

    return course(config.schedule, config.learning_rate), course(config.momentum_schedule, float(momentum))
