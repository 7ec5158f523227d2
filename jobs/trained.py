"""Weights that came home, in the network that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import catalogue, inputs, weights
from jobs.config import Config, resolve
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.outputs import RESULT, read_result
from jobs.prepare import fitted, prepare

if TYPE_CHECKING:
    from jobs.network import Network

REMEMBERED = ("options", "l1", "l2", "penalty", "penalised", "reduction", "floatx", "inputs")
"""What a judgement depends on, and result.json tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network with trained weights, and the data that it is looked at with."""

    config: Config
    dataset: Dataset
    network: Network


def load(path: Path, model: str | None, options: Mapping[str, Any]) -> Trained:
    """The weights in `path`, in their network; what `options` does not give is as result.json beside them says.

    Raises `JobError` where they are none of the model's.
    """
    arrays = weights.load(path)
    result = read_result(path.parent)
    model = model or result.get("model")
    if not model:
        raise JobError(f"there is no {RESULT} beside {path} that names the model: say --model")
    was = result.get("settings", {}) if result.get("model") == model else {}
    known = {name: was[name] for name in REMEMBERED if name in was and options.get(name) is None}
    dataset, config, _ = prepare(resolve(model, {**options, **known, "batch_size": 1}, None))
    dataset = inputs.apply(inputs.load(path.parent, config.inputs), dataset)
    from jobs import network  # noqa: PLC0415  # it imports Keras

    stage = catalogue.stages_of(catalogue.find(model), config)[-1]
    config = fitted(replace(stage.config, batch_size=1), dataset)
    built = stage.build(config)
    network.set_weights(built, arrays)
    return Trained(config=config, dataset=dataset, network=network.build(config, built, stage.objective, dataset.scale))
