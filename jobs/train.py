"""`python -m jobs train`: from a checked configuration to weights on the disk."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs import checkpoint, runtime
from jobs import weights as weights_file
from jobs.config import Config
from jobs.datasets import source
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.files import make_folder
from jobs.outputs import MetricsLog, write_result
from jobs.signals import StopRequest

if TYPE_CHECKING:
    from jobs.training import Network

SIGNAL_BATCHES = 32
"""How many batches may pass before a stop request is seen, however rarely a line is printed."""


@dataclass(slots=True, kw_only=True)
class Place:
    """How far the training is."""

    epoch: int
    batch: int
    order: NDArray[np.int64]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training's parts."""

    config: Config
    dataset: Dataset
    network: Network
    stop: StopRequest
    metrics: MetricsLog
    place: Place

    @property
    def batches(self) -> int:
        """Whole batches in an epoch."""
        return len(self.dataset.train_x) // self.config.batch_size


def train(config: Config, stop: StopRequest) -> int:
    """Train, print the deck's lines, write the outputs; returns the exit status. Raises `JobError`."""
    for folder in filter(None, (config.output_dir, config.checkpoint_dir)):
        make_folder(folder)
    dataset, network, config = prepare(config)
    place = _start(config, dataset, network)
    metrics = MetricsLog.open(config.output_dir, from_step=_step(place, len(dataset.train_x) // config.batch_size))
    training = Training(config=config, dataset=dataset, network=network, stop=stop, metrics=metrics, place=place)
    stop.training = True
    while place.epoch < config.epochs and not stop.signal_number:
        _run_epoch(training)
    stop.training = False
    metrics.close()
    if stop.signal_number and place.epoch < config.epochs:
        return _stopped(training)
    _finish(training)
    return 0


def prepare(config: Config) -> tuple[Dataset, Network, Config]:
    """Read the data while TensorFlow is imported, then build the network for it."""
    started = time.perf_counter()
    with ThreadPoolExecutor(max_workers=1) as reader:
        reading = reader.submit(source.load, config.data)
        runtime.start(config.device, config.floatx)
        dataset = reading.result()
    if config.batch_size > len(dataset.train_x):
        raise JobError(f"batch_size {config.batch_size} is more than the {len(dataset.train_x):,} training rows")
    from jobs import training  # noqa: PLC0415  # it imports TensorFlow, which may only now be

    config = replace(config, input_shape=dataset.input_shape, classes=dataset.classes)
    network = training.build(config, dataset)
    _say(f"{config.model} on {dataset}")
    _say(f"{config.device}, {config.floatx}, seed {config.seed}; ready after {time.perf_counter() - started:.1f} s")
    if (config.device, config.floatx) == ("cpu", "float16"):
        _say("A CPU only emulates float16, tens of times slower than float32: bfloat16 is the quick half type here")
    return dataset, network, config


def permutation(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The order of the rows in that epoch, whatever went before."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def stretches(batch: int, batches: int, print_every: int) -> Iterator[tuple[int, int]]:
    """(first, last) of the runs of batches from `batch` on; one that ends with a batch to print ends there."""
    while batch < batches:
        printed = -(-batch // print_every) * print_every
        last = min(printed + 1, batch + SIGNAL_BATCHES, batches)
        yield batch, last
        batch = last


def _start(config: Config, dataset: Dataset, network: Network) -> Place:
    """The beginning, or where the checkpoint was made."""
    from jobs import training  # noqa: PLC0415  # it imports TensorFlow

    rows = len(dataset.train_x)
    found = checkpoint.load(config.checkpoint_dir, _same(config, dataset)) if config.checkpoint_dir else None
    if found is None:
        return Place(epoch=0, batch=0, order=permutation(config.seed, 0, rows), seconds=0.0)
    if found.epoch > config.epochs:
        raise JobError(f"the checkpoint has {found.epoch} epochs already, more than the {config.epochs} asked for")
    training.restore(network, found.variables)
    _say(f"Going on from the checkpoint at iteration i={found.epoch}, j={found.batch}")
    return Place(epoch=found.epoch, batch=found.batch, order=found.order, seconds=found.seconds)


def _same(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What a checkpoint must agree on with the job that goes on from it."""
    names = ("model", "batch_size", "learning_rate", "l2", "seed", "floatx")
    return {name: getattr(config, name) for name in names} | {"data": dataset.fingerprint}


def _run_epoch(training: Training) -> None:
    """The rest of the epoch, and a checkpoint; or as far into it as a stop request lets it come."""
    place, config = training.place, training.config
    started = time.perf_counter() - place.seconds
    for first, last in stretches(place.batch, training.batches, config.print_every):
        training.network.advance(place.order, np.int64(first), np.int64(last))
        place.batch = last
        if (last - 1) % config.print_every == 0:
            _report(training, last - 1)
        if training.stop.signal_number:
            break
    place.seconds = time.perf_counter() - started
    if place.batch == training.batches:
        place.epoch, place.batch = place.epoch + 1, 0
        place.order = permutation(config.seed, place.epoch, len(training.dataset.train_x))
        _save(training)


def _report(training: Training, batch: int) -> None:
    place = training.place
    cost, error = (float(value) for value in training.network.evaluate())
    _say(f"Cost / err at iteration i={place.epoch}, j={batch}: {cost:.3f} / {error:.3f}")
    if not math.isfinite(cost):
        raise JobError(f"the cost is {cost}: lower the learning rate {training.config.learning_rate}", exit_code=1)
    step = place.epoch * training.batches + batch
    training.metrics.write(step=step, epoch=place.epoch, cost=cost, error=error)


def _step(place: Place, batches: int) -> int:
    return place.epoch * batches + place.batch


def _save(training: Training) -> None:
    """The weights so far, and the checkpoint where one is wanted."""
    from jobs import training as networks  # noqa: PLC0415  # it imports TensorFlow

    config, place = training.config, training.place
    weights_file.save(config.output_dir, networks.weights(training.network))
    if config.checkpoint_dir:
        now = checkpoint.Checkpoint(
            variables=networks.variables(training.network),
            job=_same(config, training.dataset),
            epoch=place.epoch,
            batch=place.batch,
            order=place.order,
            seconds=place.seconds,
        )
        checkpoint.save(config.checkpoint_dir, now)


def _stopped(training: Training) -> int:
    _save(training)
    place, folder = training.place, training.config.checkpoint_dir
    saved = f"checkpoint in {folder}" if folder else "no checkpoint, since no --checkpoint-dir was given"
    _say(f"Stopped by {training.stop.name} at iteration i={place.epoch}, j={place.batch}: {saved}")
    return training.stop.exit_code


def _finish(training: Training) -> None:
    """Judge the last weights, write what is left to write, and say how it went."""
    config, seconds = training.config, training.place.seconds
    cost, error = training.network.evaluate()
    device = runtime.device_of(cost)
    _save(training)
    result = {
        "model": config.model,
        "data": str(training.dataset),
        "cost": float(cost),
        "error": float(error),
        "seconds": seconds,
        "seed": config.seed,
        "device": device,
        "dtype_policy": training.network.model.dtype_policy.name,
        "versions": runtime.versions(),
        "threads": runtime.threads(),
        "settings": {name: _plain(value) for name, value in asdict(config).items() if name != "data"},
    }
    write_result(config.output_dir, result)
    _say(f"Training time: {timedelta(seconds=seconds)}")
    _say(f"Final test error: {float(error):.2%} of {len(training.dataset.test_x):,} held-out rows")
    _say(f"Used the {device}")


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | list | None) else str(value)


def _say(line: str) -> None:
    print(line, flush=True)
