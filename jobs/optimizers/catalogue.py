"""Which optimisers there are, and what each may be told, found without importing Keras.

Where Keras's own class computes the course decks' formula, it is Keras's; else it is ours, in a file of this folder.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs import option
from jobs.errors import JobError
from jobs.option import Number, Option

if TYPE_CHECKING:
    import keras

OPTIMIZERS: Mapping[str, str] = MappingProxyType(
    {
        "sgd": "gradient descent: one rate for all weights, no memory",
        "momentum": "momentum as velocity: what is left of the last step, less the gradient's (decks 0 and 3)",
        "momentum-average": "momentum as a moving average of the gradients (deck 4)",
        "nesterov": "Nesterov momentum in the form without look-ahead (deck 0)",
        "adagrad": "rates divided by the root of all squared gradients so far (deck 0)",
        "rmsprop": "rates divided by the root of a decaying mean of squared gradients (deck 0)",
        "rmsprop-delayed": "the same with the mean of before this gradient, which starts at 1 (deck 4)",
        "rmsprop-keras": "the same as Keras has it, epsilon under the root",
        "adadelta": "steps of the size of past steps (Zeiler 2012)",
        "adam": "moving averages of gradient and squared gradient (Kingma and Ba 2015)",
        "sign-agreement": "a rate for each weight, which grows while the gradient keeps its sign (deck 4)",
    }
)


def _share(default: float, of: str) -> Number:
    return Number(default=default, meaning=f"share of {of} that is kept", at_least=0.0, below=1.0)


def _epsilon(default: float) -> Number:
    return Number(default=default, meaning="keeps from dividing by 0", above=0.0)


_OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "sgd": {},
    "momentum": {"momentum": _share(0.9, "the last step")},
    "momentum-average": {"momentum": _share(0.8, "the average")},
    "nesterov": {"momentum": _share(0.9, "the velocity")},
    "adagrad": {"epsilon": _epsilon(1e-10)},
    "rmsprop": {"decay": _share(0.9, "the mean"), "epsilon": _epsilon(1e-10)},
    "rmsprop-delayed": {
        "decay": _share(0.9, "the mean"),
        "epsilon": Number(default=1e-10, meaning="keeps from dividing by 0; the deck has 0", at_least=0.0),
    },
    "rmsprop-keras": {"decay": _share(0.9, "the mean"), "epsilon": _epsilon(1e-7)},
    "adadelta": {"decay": _share(0.95, "both means"), "epsilon": _epsilon(1e-6)},
    "adam": {
        "beta_1": _share(0.9, "the gradients' mean"),
        "beta_2": _share(0.999, "the squares' mean"),
        "epsilon": _epsilon(1e-7),
    },
    "sign-agreement": {
        "increase": Number(default=0.05, meaning="added to a rate when the signs agree", at_least=0.0),
        "decrease": Number(default=0.95, meaning="times a rate when they do not", above=0.0, at_most=1.0),
        "smallest": Number(default=0.0, meaning="no rate falls below it", at_least=0.0, at_most=1.0),
        "largest": Number(default=1e9, meaning="no rate rises above it; the default is no limit", at_least=1.0),
    },
}

OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {name: option.defaults(options) for name, options in _OPTIONS.items()}
)
"""By optimiser: its options, each with its default."""

WITH_MOMENTUM = frozenset(name for name, options in OPTIONS.items() if "momentum" in options)
"""Those whose momentum a schedule may move."""

_OURS: Mapping[str, tuple[str, str]] = {
    "sgd": ("gradient_descent", "GradientDescent"),
    "momentum": ("momentum", "Momentum"),
    "momentum-average": ("momentum_average", "MomentumAverage"),
    "nesterov": ("nesterov", "Nesterov"),
    "adagrad": ("adagrad", "AdaGrad"),
    "rmsprop": ("rmsprop", "RMSprop"),
    "rmsprop-delayed": ("rmsprop_delayed", "RMSpropDelayed"),
    "adam": ("adam", "Adam"),
    "sign-agreement": ("sign_agreement", "SignAgreement"),
}
"""By name: the file and the class."""

_KERAS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "rmsprop-keras": ("RMSprop", {"decay": "rho"}),
    "adadelta": ("Adadelta", {"decay": "rho"}),
}
"""By name: Keras's class, and what it calls the options that we call otherwise."""


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise `JobError` for an optimiser or an option that there is not, or a value that cannot be."""
    option.check("optimizer", _OPTIONS, name, options)


def meanings(name: str) -> dict[str, str]:
    """What each option of the optimiser is."""
    return {each: known.meaning for each, known in _OPTIONS[name].items()}


def make(name: str, learning_rate: float, options: Mapping[str, Any]) -> keras.Optimizer:
    """The optimiser, not built yet; its variables' paths begin with its name, `_` for `-`.

    The learning rate is `optimizer.learning_rate`, a variable of Keras's floatx that may be assigned before a step;
    for the momentum see `momentum_variable`. Raises `JobError` as `check` does.
    """
    check(name, options)
    if not (math.isfinite(learning_rate) and learning_rate >= 0):
        raise JobError(f"learning_rate is {learning_rate!r}: expected a number of at least 0")
    settings = {**OPTIONS[name], **options}
    variables_name = name.replace("-", "_")
    if name in _OURS:
        file, class_name = _OURS[name]
        made = getattr(importlib.import_module(f"jobs.optimizers.{file}"), class_name)
    else:
        class_name, renamed = _KERAS[name]
        settings = {renamed.get(each, each): value for each, value in settings.items()}
        made = getattr(importlib.import_module("keras.optimizers"), class_name)
    floats = {each: float(value) for each, value in settings.items()}
    return made(learning_rate=float(learning_rate), name=variables_name, **floats)


def momentum_variable(optimizer: keras.Optimizer) -> keras.Variable | None:
    """The scalar variable of floatx that holds the momentum, one of `optimizer.variables`; None where there is none.

    It is there once the optimiser is built, and may be assigned before a step, as the learning rate may.
    """
    return getattr(optimizer, "momentum_variable", None)
