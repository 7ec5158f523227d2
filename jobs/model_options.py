"""What a model's own options may be: under one name they are of one kind in every model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jobs import activations, initializers
from jobs.errors import JobError
from jobs.option import Number, OneOf, Option, Truth

UNITS = Number(default=500, meaning="units of each hidden layer", at_least=1, whole=True)
DROPPED = Number(default=0.5, meaning="share of the units that is left out at each step", at_least=0.0, below=1.0)

KNOWN: Mapping[str, Option] = MappingProxyType(
    {
        "hidden_units": UNITS,
        "kernels": Number(default=20, meaning="kernels of each convolution", at_least=1, whole=True),
        "activation": OneOf(default="relu", meaning="between layers", words=activations.NAMES),
        "initializer": OneOf(
            default=initializers.BY_ACTIVATION,
            meaning="of the first weights",
            words=(*initializers.NAMES, initializers.BY_ACTIVATION),
        ),
        "dropout": DROPPED,
        "input_dropout": DROPPED,
        "conv_dropout": DROPPED,
        "dropout_kind": OneOf(
            default="none", meaning="how it is left out", words=("none", "inverted", "p-keep", "dropconnect")
        ),
        "batch_norm": Truth(default=False, meaning="whether each hidden layer is normalised over the batch"),
        "positive": Number(default=1, meaning="the class that is a yes", at_least=0, whole=True),
        "members": Number(default=5, meaning="networks of an ensemble", at_least=1, whole=True),
        "kind": OneOf(
            default="data-subset",
            meaning="what makes them differ",
            words=("data-subset", "feature-subset", "both", "committee"),
        ),
        "combine": OneOf(default="average", meaning="how they answer together", words=("average", "vote")),
        "row_share": Number(default=1.0, meaning="rows that each is trained on", above=0.0, at_most=1.0),
        "input_share": Number(default=0.5, meaning="inputs that each sees", above=0.0, at_most=1.0),
        "k": Number(default=1, meaning="steps of a Boltzmann machine's walk", at_least=1, whole=True),
        "persistent_chains": Number(default=0, meaning="walks that go on; 0: from the data", at_least=0, whole=True),
        "pretraining_epochs": Number(default=8, meaning="of each layer alone; 0: none", at_least=0, whole=True),
        "pretraining_rate": Number(default=0.05, meaning="learning rate of each layer alone", above=0.0),
        "specialist_epochs": Number(default=1000, meaning="of each specialist", at_least=1, whole=True),
    }
)

MAY_BE_NONE = frozenset({("layered-mlp", "hidden_units")})
"""Several numbers, or none of them: without hidden layers there is still an output."""


def check(model: str, options: Mapping[str, Any]) -> None:
    """Raise `JobError` for the first value that cannot be; an option that is several numbers is each of them."""
    for name, value in options.items():
        kind = KNOWN.get(name)
        if kind is None:
            continue
        if value == () and (model, name) not in MAY_BE_NONE:
            raise JobError(f"{model}: {name} is empty: expected {kind}, or several of them with commas between")
        for each in value if isinstance(value, tuple) else (value,):
            if not kind.allows(each):
                raise JobError(f"{model}: {name} is {each!r}: expected {kind}")
