"""`python -m jobs train`: from a checked configuration to weights on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs import catalogue, champion, checkpoint, inputs, runtime
from jobs import weights as weights_file
from jobs.checkpoint import Checkpoint, Place
from jobs.config import SAME, Config
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.files import make_folder
from jobs.nan_guard import first_nan_told
from jobs.outputs import MetricsLog, write_result
from jobs.prepare import fitted, prepare, whole
from jobs.sampling import importance
from jobs.signals import StopRequest, ends_as_asked
from jobs.stages import Stage

if TYPE_CHECKING:
    from jobs.loop import Session


BY_LENGTH = frozenset({"linear", "cosine"})
"""Schedules that another number of epochs would change from the first step on."""


@dataclass(slots=True, kw_only=True)
class Training:
    """One whole training."""

    config: Config
    dataset: Dataset
    stop: StopRequest
    metrics: MetricsLog
    job: Mapping[str, Any]
    """What a checkpoint of it must agree on."""
    place: Place
    done: dict[str, dict[str, Any]]
    """The weights of the stages that are done."""
    found: Checkpoint | None
    """Where to go on from, until that is done."""
    heldout: Dataset
    """The test rows as they were read."""


@ends_as_asked()
def train(config: Config, stop: StopRequest) -> int:
    """Train, print the deck's lines, write the outputs; returns the exit status. Raises `JobError`."""
    for folder in filter(None, (config.output_dir, config.checkpoint_dir)):
        make_folder(folder)
    dataset, config, seconds = prepare(config)
    _say(f"{config.model} on {dataset}")
    fingerprint = dataset.fingerprint
    transform = _transform(config, dataset)
    heldout = champion.heldout(dataset)
    dataset = inputs.apply(transform, dataset)
    config = fitted(config, dataset)
    said = f"{config.device}, {config.floatx}, seed {config.seed}"
    _say(f"{said}; ready after {seconds:.1f} s")
    if slow := runtime.slow_half(config):
        _say(slow)
    stages = catalogue.stages_of(catalogue.find(config.model), config)
    training = _start(config, dataset, heldout, fingerprint, stop, stages)
    with first_nan_told(config.mode):
        session = _run_stages(training, stages)
    stop.training = False
    training.metrics.close()
    if session is None or stop.signal_number:
        return _stopped(training)
    inputs.save(config.output_dir, transform)
    _finish(training, session)
    return 0


def _transform(config: Config, dataset: Dataset) -> inputs.Transform | None:
    """What is done to the inputs: as the checkpoint has it, where there is one; its last bits are a machine's own."""
    folder = config.checkpoint_dir
    if folder and (folder / checkpoint.NAME).exists() and (folder / inputs.FILE).exists():
        return inputs.load(folder, config.inputs)
    transform = inputs.fit(config.inputs, dataset)
    if folder:
        inputs.save(folder, transform)
    return transform


def _start(
    config: Config, dataset: Dataset, heldout: Dataset, fingerprint: str, stop: StopRequest, stages: Sequence[Stage]
) -> Training:
    """The beginning, or where the checkpoint was made."""
    if config.initial_weights and len(stages) > 1:
        raise JobError(f"--initial-weights: {config.model} learns in {len(stages)} stages, and begins with the first")
    job = {name: _plain(getattr(config, name)) for name in sorted(SAME)} | {"data": fingerprint}
    job |= {"model": config.model}
    if len(stages) > 1 or {config.schedule.name, config.momentum_schedule.name} & BY_LENGTH:
        job |= {"epochs": config.epochs}
    found = checkpoint.load(config.checkpoint_dir, job) if config.checkpoint_dir else None
    place, done = Place(), {}
    if found and config.checkpoint_dir:
        place = found.place
        asked = stages[place.stage].config.epochs
        if place.epoch > asked:
            raise JobError(f"the checkpoint has {place.epoch} epochs already, more than the {asked} asked for")
        done = {stages[n].name: checkpoint.load_stage(config.checkpoint_dir, n) for n in range(place.stage)}
        _say(f"Going on from the checkpoint at iteration i={place.epoch}, j={place.batch}")
    from_step = place.step - (not place.judged)
    metrics = MetricsLog.open(config.output_dir, from_step=from_step, tensorboard=config.tensorboard)
    return Training(
        config=config,
        dataset=dataset,
        stop=stop,
        metrics=metrics,
        job=job,
        place=place,
        done=done,
        found=found,
        heldout=heldout,
    )


def _run_stages(training: Training, stages: Sequence[Stage]) -> Session | None:
    """Train one stage after the other; the last one's network is the result, None when it was asked to stop.

    While a stage is opened, which may take seconds, all there is to save is on the disk: a signal ends the process.
    """
    from jobs import loop, network  # noqa: PLC0415  # they import Keras

    while True:
        stage = stages[training.place.stage]
        session = _open(training, stage)
        training.stop.training = True
        finished = loop.run(session)
        _save(training, session)
        if not finished:
            return None
        loop.restore_best(session)
        if training.place.stage == len(stages) - 1:
            return session
        training.done[stage.name] = network.weights(session.network.model)
        if training.config.checkpoint_dir:
            checkpoint.save_stage(training.config.checkpoint_dir, training.place.stage, training.done[stage.name])
        training.stop.training = False
        if training.stop.signal_number:
            return None
        training.place = replace(training.place, stage=training.place.stage + 1, epoch=0, batch=0, stopper=None)


def _open(training: Training, stage: Stage) -> Session:
    """The stage's network and rows, as far as they had come."""
    from jobs import loop, network  # noqa: PLC0415  # they import Keras
    from jobs.epochs import Epochs  # noqa: PLC0415  # likewise
    from jobs.monitor import monitor  # noqa: PLC0415  # likewise

    dataset = stage.select(training.dataset, training.done)
    config = whole(fitted(stage.config, dataset), dataset)
    model = stage.build(config)
    stage.begin(model, training.done)
    net = network.build(config, model, stage.objective, dataset.scale)
    epochs = Epochs(config=config, dataset=dataset, network=net, weights=_row_weights(config, dataset))
    found, training.found = training.found, None
    if found:
        network.restore(net, found.variables)
    elif config.initial_weights:
        champion.begin_with(net, config.initial_weights)
        _say(f"Training begins with {config.initial_weights}")
    valid = dataset.valid_x is not None and dataset.valid_y is not None
    return loop.Session(
        name=stage.name,
        config=config,
        dataset=dataset,
        network=net,
        epochs=epochs,
        place=training.place,
        stop=training.stop,
        metrics=training.metrics,
        save=lambda session: _save(training, session),
        say=_say,
        order=found.order if found else epochs.order(training.place.epoch),
        best=dict(found.best) if found else {},
        rule=loop.start_rule(config, training.place.stopper),
        look=monitor(net, dataset).look if config.monitor_every else None,
        test=net.rows(dataset.test_x, dataset.test_y),
        valid=net.rows(dataset.valid_x, dataset.valid_y) if valid else None,  # type: ignore[arg-type]  # both are there
    )


def _row_weights(config: Config, dataset: Dataset) -> NDArray[np.float32] | None:
    """What each training row counts, (rows,); None: all the same."""
    if config.row_weights == "none" or not config.epochs:
        return None
    found = importance.weights(dataset.train_x, dataset.test_x)
    _say(f"Rows weighted by importance: they estimate as well as {importance.effective_rows(found):,.0f} like ones")
    return found.astype(np.float32)


def _save(training: Training, session: Session) -> None:
    """A checkpoint, where one is wanted."""
    from jobs import network  # noqa: PLC0415  # it imports Keras

    if training.config.checkpoint_dir:
        now = Checkpoint(
            variables=network.variables(session.network),
            best=session.best,
            job=training.job,
            place=training.place,
            order=np.asarray(session.order),
        )
        checkpoint.save(training.config.checkpoint_dir, now)


def _stopped(training: Training) -> int:
    place, folder = training.place, training.config.checkpoint_dir
    saved = f"checkpoint in {folder}" if folder else "no checkpoint, since no --checkpoint-dir was given"
    _say(f"Stopped by {training.stop.name} at iteration i={place.epoch}, j={place.batch}: {saved}")
    return training.stop.exit_code


def _finish(training: Training, session: Session) -> None:
    """Judge the last weights, write what is left to write, and say how it went."""
    from jobs import network  # noqa: PLC0415  # it imports Keras

    config, net, seconds = training.config, session.network, training.place.seconds
    verdict = net.evaluate(session.test)
    device = runtime.device_of(net.model.variables[0])
    arrays = network.weights(net.model)
    written = [weights_file.save(config.output_dir, arrays, name) for name in config.weights_formats]
    weights_file.save_model(config.output_dir, net.model)
    result = {
        "model": config.model,
        "data": str(session.dataset),
        "source": str(config.data.path or config.data.kind),
        "scale": session.dataset.scale,
        "cost": verdict.cost,
        net.objective.ERROR: verdict.error,
        "rows": {"train": len(session.dataset.train_x), "test": len(session.dataset.test_x)},
        "epochs": training.place.epoch,
        "steps": training.place.step,
        "seconds": seconds,
        "seed": config.seed,
        "device": device,
        "dtype_policy": net.model.dtype_policy.name,
        "versions": runtime.versions(),
        "threads": runtime.threads(),
        "settings": {name: _plain(value) for name, value in asdict(config).items() if name != "data"},
        "schema": _schema(config, session.dataset),
    }
    choosing = net.evaluate(session.valid) if session.valid else None
    if choosing:
        result |= {"validation_cost": choosing.cost, f"validation_{net.objective.ERROR}": choosing.error}
    # Last: the network has the champion's weights afterwards.
    result["evaluated"] = champion.evaluated(net, (written[0], verdict), session.test, training.heldout, config)
    write_result(config.output_dir, result)
    _say(f"Training time: {timedelta(seconds=seconds)}")
    rows = f"{len(session.dataset.test_x):,} held-out rows"
    figure = f"{verdict.error:.2%}" if net.objective.ERROR == "error" else f"{verdict.error:.4f}"
    _say(f"Final test {net.objective.ERROR}: {figure} of {rows}")
    if champion_told := champion.line(result["evaluated"], net.objective.ERROR):
        _say(champion_told)
    _say(f"Used the {device}")


def _schema(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What the network takes and answers: weights of another schema cannot take the place of these."""
    return {
        "kind": config.data.kind,
        "inputs": config.inputs,
        "input_shape": list(dataset.input_shape),
        "scale": dataset.scale,
        "classes": dataset.classes,
        "targets": list(dataset.targets),
    }


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _say(line: str) -> None:
    print(line, flush=True)
