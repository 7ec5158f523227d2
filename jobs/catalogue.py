"""Which models there are, found without importing TensorFlow."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from jobs.errors import JobError

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

MODELS: Mapping[str, str] = MappingProxyType({"deck-mlp": "jobs.models.deck_mlp", "logistic": "jobs.models.logistic"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a model is trained with unless the caller says otherwise."""

    epochs: int
    batch_size: int
    learning_rate: float
    l2: float


class Model(Protocol):
    """What a file in `jobs/models/` offers."""

    __doc__: str | None
    SETTINGS: Mapping[str, Settings]
    """By kind of data; `""` is for any other."""

    def build(self, config: Config) -> keras.Model:
        """The network, its first weights drawn from `config.seed`; it answers logits, one a class."""


def find(name: str) -> Model:
    """The model of that name; raises `JobError` where there is none."""
    if name not in MODELS:
        raise JobError(f"unknown model {name!r}{nearest(name, MODELS)}")
    return cast("Model", importlib.import_module(MODELS[name]))


def settings_for(model: Model, kind: str) -> Settings:
    """The model's settings for that kind of data."""
    return model.SETTINGS.get(kind, model.SETTINGS[""])


def summary(model: Model) -> str:
    """The first line of its docstring."""
    return (model.__doc__ or "").partition("\n")[0]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ..?` where a known name is near, else what there is."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f": expected one of {', '.join(sorted(known))}"
