"""Which models there are, found without importing Keras."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

from jobs.errors import JobError

if TYPE_CHECKING:
    import keras

    from jobs.config import Config
    from jobs.stages import Stage

MODELS: Mapping[str, str] = MappingProxyType(
    {
        "deck-mlp": "jobs.models.deck_mlp",
        "logistic": "jobs.models.logistic",
        "binary": "jobs.models.binary",
        "mlp": "jobs.models.mlp",
        "keras-mlp": "jobs.models.keras_mlp",
        "lenet": "jobs.models.lenet",
        "cnn": "jobs.models.cnn",
        "rnn": "jobs.models.rnn",
        "lstm": "jobs.models.lstm",
        "rbm": "jobs.models.rbm",
        "dbn": "jobs.models.dbn",
        "key-points": "jobs.models.key_points",
        "key-point-specialists": "jobs.models.key_point_specialists",
        "expressions": "jobs.models.expressions",
        "layered-mlp": "jobs.models.layered",
        "ensemble": "jobs.models.ensemble",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a model is trained with unless the caller says otherwise; `Config` says what each is."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str = "sgd"
    schedule: str = "constant"
    momentum_schedule: str = "constant"
    early_stopping: str = "none"
    hold_out: float = 0.0
    reduction: str = "mean"
    l1: float = 0.0
    l2: float = 0.0
    penalty: str = "sum"
    penalised: str = "kernels"
    augment: str = "none"
    print_every: int = 0
    threads: int = 0
    half_threads: int | None = None
    """With bfloat16 or float16, where products are so quick that sharing them out costs more; None: as `threads`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The model's own that are not as `OPTIONS` has them."""


class Model(Protocol):
    """What a file in `jobs/models/` offers."""

    __doc__: str | None
    SETTINGS: Mapping[str, Settings]
    """By kind of data; `""` is for any other."""

    def build(self, config: Config) -> keras.Model:
        """The network, its first weights drawn from `config.seed`; a classifier answers logits, one a class."""

    # A file may also offer:
    # OBJECTIVE: str            what the network is trained for, a name in jobs/objectives/ (default: classification)
    # OPTIONS: Mapping[str, Any]  its own options with their defaults, which `--set NAME=VALUE` changes
    # stages(config) -> Sequence[Stage]  when it is not trained in one go; the last stage's network is the result


def find(name: str) -> Model:
    """The model of that name; raises `JobError` where there is none."""
    if name not in MODELS:
        raise JobError(f"unknown model {name!r}{nearest(name, MODELS)}")
    return cast("Model", importlib.import_module(MODELS[name]))


def settings_for(model: Model, kind: str) -> Settings:
    """The model's settings for that kind of data."""
    return model.SETTINGS.get(kind, model.SETTINGS[""])


def options_of(model: Model) -> Mapping[str, Any]:
    """The model's own options, each with its default."""
    return cast("Mapping[str, Any]", getattr(model, "OPTIONS", {}))


def objective_of(model: Model) -> str:
    """The name of what the model is trained for."""
    return str(getattr(model, "OBJECTIVE", "classification"))


def stages_of(model: Model, config: Config) -> Sequence[Stage]:
    """The parts of the model's training, in order."""
    from jobs.stages import Stage  # noqa: PLC0415  # it imports this module

    if hasattr(model, "stages"):
        return cast("Sequence[Stage]", model.stages(config))
    return [Stage(name="", config=config, build=model.build, objective=objective_of(model))]


def summary(model: Model) -> str:
    """The first line of its docstring."""
    return (model.__doc__ or "").partition("\n")[0]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ..?` where a known name is near, else what there is."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f": expected one of {', '.join(sorted(known))}"
