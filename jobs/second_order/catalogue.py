"""Which full-batch methods there are, and what each may be told; NumPy alone, no Keras.

Give cost and gradient in float64 (`floatx=float64`): in float32 a line search ends as soon as rounding
hides what is left to gain, and says `done`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jobs import option
from jobs.option import Number, Option
from jobs.second_order.conjugate_gradient import ConjugateGradient
from jobs.second_order.lbfgs import LBFGS
from jobs.second_order.method import Method
from jobs.second_order.newton import Hessian, Newton

METHODS: Mapping[str, str] = MappingProxyType(
    {
        "newton": "Newton's method with the whole Hessian, damped, with a line search (deck 0)",
        "conjugate-gradient": "nonlinear conjugate gradient, Polak and Ribiere's (deck 4)",
        "lbfgs": "limited-memory BFGS (deck 4)",
    }
)

_TOLERANCE = Number(default=1e-5, meaning="done once no part of the gradient is larger", at_least=0.0)

_OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "newton": {
        "tolerance": _TOLERANCE,
        "difference": Number(default=6e-6, meaning="to either side of a weight, for the Hessian", above=0.0),
    },
    "conjugate-gradient": {"tolerance": _TOLERANCE},
    "lbfgs": {
        "tolerance": _TOLERANCE,
        "history": Number(default=10, meaning="steps that it remembers", at_least=1, whole=True),
    },
}

OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {name: option.defaults(options) for name, options in _OPTIONS.items()}
)
"""By method: its options, each with its default."""


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise `JobError` for a method or an option that there is not, or a value that cannot be."""
    option.check("method", _OPTIONS, name, options)


def meanings(name: str) -> dict[str, str]:
    """What each option of the method is."""
    return {each: known.meaning for each, known in _OPTIONS[name].items()}


def make(name: str, options: Mapping[str, Any], hessian: Hessian | None = None) -> Method:
    """The method; `hessian`, (n,) -> (n, n), is for Newton's alone. Raises `JobError` as `check` does."""
    check(name, options)
    chosen = {**OPTIONS[name], **options}
    if name == "newton":
        return Newton(chosen["tolerance"], chosen["difference"], hessian)
    if name == "lbfgs":
        return LBFGS(chosen["tolerance"], chosen["history"])
    return ConjugateGradient(chosen["tolerance"])
