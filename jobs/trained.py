"""Weights that came home, in the network that they are of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs import catalogue, inputs, runtime, weights
from jobs.config import Config, resolve
from jobs.datasets.dataset import Dataset
from jobs.datasets.source import GENERATED
from jobs.errors import JobError
from jobs.outputs import RESULT, read_result
from jobs.prepare import fitted, prepare

if TYPE_CHECKING:
    import keras

    from jobs.network import Network

UNTRAINED: Mapping[str, Any] = MappingProxyType(
    {"batch_size": 1, "augment": "none", "early_stopping": "none", "hold_out": 0.0}
)
"""Nothing is trained, so nothing is held out or varied for it."""

REMEMBERED = ("options", "l1", "l2", "penalty", "penalised", "reduction", "floatx", "inputs")
"""What a judgement depends on, and result.json tells."""

ANY = "digits"
"""Named where data are not read: they are always there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network with trained weights, and the data that it is looked at with."""

    config: Config
    dataset: Dataset
    network: Network


def load(path: Path, model: str | None, options: Mapping[str, Any], rows: Dataset | None = None) -> Trained:
    """The weights in `path`, in their network; what `options` does not give is as result.json beside them says.

    With `rows` no other data are read. Raises `JobError` where the weights are none of the model's.
    """
    arrays = weights.load(path)
    config = settings(path, model, options if rows is None else {**options, "data": ANY})
    dataset = prepare(config)[0] if rows is None else rows
    if rows is not None:
        runtime.start(config)
    dataset = inputs.apply(inputs.load(path.parent, config.inputs), dataset)
    stages = catalogue.stages_of(catalogue.find(config.model), fitted(config, dataset))
    stage = stages[-1]
    if len(stages) == 1:
        dataset = stage.select(dataset, {})
    from jobs import network  # noqa: PLC0415  # it imports Keras

    config = fitted(replace(stage.config, batch_size=1), dataset)
    built = stage.build(config)
    network.set_weights(built, arrays)
    return Trained(config=config, dataset=dataset, network=network.build(config, built, stage.objective, dataset.scale))


def rebuild(path: Path, model: str | None, options: Mapping[str, Any]) -> keras.Model:
    """The network alone, without any data: its shape is as result.json beside `path` tells it. Raises `JobError`."""
    arrays = weights.load(path)
    was = read_result(path.parent).get("settings", {})
    if not was.get("input_shape"):
        raise JobError(f"there is no {RESULT} beside {path} that tells the network's shape")
    config = replace(
        settings(path, model, {**options, "data": ANY}),
        input_shape=tuple(was["input_shape"]),
        image_shape=tuple(was["image_shape"]) if was["image_shape"] else None,
        classes=was["classes"],
        targets=tuple(was["targets"]),
    )
    runtime.start(config)
    from jobs import network  # noqa: PLC0415  # it imports Keras

    stage = catalogue.stages_of(catalogue.find(config.model), config)[-1]
    built = stage.build(stage.config)
    network.set_weights(built, arrays)
    return built


def settings(path: Path, model: str | None, options: Mapping[str, Any]) -> Config:
    """What `options` says, else result.json beside `path`; raises `JobError` where nobody names the model."""
    result = read_result(path.parent)
    model = model or result.get("model")
    if not model:
        raise JobError(f"there is no {RESULT} beside {path} that names the model: say --model")
    was = result.get("settings", {}) if result.get("model") == model else {}
    known = {name: was[name] for name in REMEMBERED if name in was and options.get(name) is None}
    if options.get("options") and "options" in was:
        known["options"] = {**was["options"], **options["options"]}
    if options.get("data") is None and not os.environ.get("GPURUN_DATA_DIR"):
        known |= {"data": _source(result)}
    return resolve(model, {**options, **known, **UNTRAINED}, None)


def _source(result: Mapping[str, Any]) -> str | None:
    """The data that it was trained on, if they are still where they were."""
    source = result.get("source")
    there = isinstance(source, str) and (source in GENERATED or Path(source).exists())
    return source if there else None
