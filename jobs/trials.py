"""`python -m jobs trials` and `cross-validate`: many trainings in one go, Keras imported once.

A server process imports Keras and computes nothing; each trial is a fork of it, which takes a third of a second to
come up instead of some seconds, and dies without taking the others along.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import statistics
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import runtime
from jobs.config import Config
from jobs.errors import JobError
from jobs.files import make_folder
from jobs.outputs import read_result
from jobs.signals import StopRequest

OUTPUT = "output.txt"
ERRORS = ("error", "rmse", "reconstruction")
"""What a model's error may be called."""
STOPS = (signal.SIGTERM, signal.SIGINT)
PASSED_ON = (*STOPS, signal.SIGUSR1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of several."""

    name: str
    config: Config


def read(path: Path, resolve: Callable[[list[str]], Config]) -> list[Trial]:
    """The trials in a file, a line each: what `python -m jobs train` would be given. Raises `JobError`.

    Empty lines and lines that begin with # are none. Each trial writes to trial-N below its --output-dir.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise JobError(f"cannot read the trials in {path}: {error.strerror}") from error
    trials = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            config = resolve(shlex.split(line))
        except (JobError, ValueError) as error:
            raise JobError(f"{path}:{number}: {error}") from error
        trials.append(Trial(name=line.strip(), config=config))
    if not trials:
        raise JobError(f"{path} holds no trial: expected a line each, such as `mlp --seed 1`")
    return [_apart(number, trial) for number, trial in enumerate(trials, start=1)]


def folds(config: Config, count: int) -> list[Trial]:
    """The same training on each of `count` folds, the others held out; raises `JobError` for fewer than two."""
    if count < 2:
        raise JobError(f"{count} folds: expected at least 2")
    trials = [
        Trial(name=f"fold {n}/{count}", config=replace(config, fold=f"{n}/{count}", hold_out=0.0))
        for n in range(1, count + 1)
    ]
    return [_apart(number, trial) for number, trial in enumerate(trials, start=1)]


def _apart(number: int, trial: Trial) -> Trial:
    """The trial with folders of its own, below the ones that it was given."""
    config, below = trial.config, f"trial-{number}"
    checkpoints = config.checkpoint_dir / below if config.checkpoint_dir else None
    return replace(trial, config=replace(config, output_dir=config.output_dir / below, checkpoint_dir=checkpoints))


def run(trials: Sequence[Trial], parallel: int, measure: str) -> int:
    """Run them, `parallel` at a time, and print a line as each ends; returns 1 where one failed.

    A request to stop, or to save, goes on to those that run: they leave their checkpoints. Raises `JobError` for
    trials that one import cannot serve.
    """
    _check_alike(trials)
    for trial in trials:
        make_folder(trial.config.output_dir)
    first = trials[0].config
    runtime.load(first.backend, first.device, first.floatx)
    stop = StopRequest(training=True)
    running: dict[int, int] = {}
    stop.install()
    stop.pass_on = lambda number: _tell(running, number)
    statuses: dict[int, int] = {}
    for number, trial in enumerate(trials):
        if len(running) == parallel:
            _wait(trials, running, statuses, measure)
        if stop.signal_number:
            break
        # A request to stop that comes between fork and note would reach the child not at all, or its brothers twice.
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        running[_fork(trial)] = number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    while running:
        _wait(trials, running, statuses, measure)
    _summarise(trials, statuses, measure)
    return stop.exit_code if stop.signal_number else int(any(statuses.values()))


def _tell(running: Iterable[int], number: int) -> None:
    for child in running:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(child, number)


def _check_alike(trials: Sequence[Trial]) -> None:
    for name in ("backend", "device"):
        found = sorted({str(getattr(trial.config, name)) for trial in trials})
        if len(found) > 1:
            raise JobError(f"the trials have several {name}s, {', '.join(found)}: one run serves one")


def _fork(trial: Trial) -> int:
    """Start a trial in a process of its own, its lines in a file; returns the process's number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)  # until it has something to save
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # likewise
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        file = os.open(trial.config.output_dir / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        status = _train(trial)
    except SystemExit as asked:  # a signal, while there was nothing to save
        status = int(asked.code or 0)
    except BaseException:  # noqa: BLE001  # the fork ends here, whatever it was: nothing may go on as the server
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)  # what the parent would clean up is not the child's


def _train(trial: Trial) -> int:
    from jobs.train import train  # noqa: PLC0415  # in the child

    stop = StopRequest()
    stop.install()
    try:
        return train(trial.config, stop)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _wait(trials: Sequence[Trial], running: dict[int, int], statuses: dict[int, int], measure: str) -> None:
    """Until one of them ends, and tell how."""
    child, raw = os.wait()
    number = running.pop(child)
    statuses[number] = os.waitstatus_to_exitcode(raw)
    trial = trials[number]
    told = "{} {:.4f}".format(*_figure(trial, measure)) if statuses[number] == 0 else _why(trial, statuses[number])
    print(f"{number + 1}/{len(trials)} {trial.name}: {told}", flush=True)


def _why(trial: Trial, status: int) -> str:
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return f"{how}, see {trial.config.output_dir / OUTPUT}"


def _figure(trial: Trial, measure: str) -> tuple[str, float]:
    """What is told of a trial that is done: `measure`, or what this model has in its place."""
    result: dict[str, Any] = read_result(trial.config.output_dir)
    prefix = "validation_" if measure.startswith("validation_") else ""
    found = (
        name for name in (measure, *(prefix + name for name in ERRORS)) if isinstance(result.get(name), int | float)
    )
    name = next(found, measure)
    return name, float(result.get(name, math.nan))


def _figures(trials: Sequence[Trial], statuses: dict[int, int], measure: str) -> Iterator[tuple[str, float]]:
    for number, status in sorted(statuses.items()):
        if status == 0:
            yield _figure(trials[number], measure)


def _summarise(trials: Sequence[Trial], statuses: dict[int, int], measure: str) -> None:
    found = list(_figures(trials, statuses, measure))
    names, values = {name for name, _ in found}, [value for _, value in found]
    if len(found) > 1 and len(names) == 1:  # errors and distances have no mean
        spread = f"mean {statistics.fmean(values):.4f}, deviation {statistics.stdev(values):.4f}"
        print(f"{len(found)} trials: {names.pop()} {spread}, from {min(values):.4f} to {max(values):.4f}")
