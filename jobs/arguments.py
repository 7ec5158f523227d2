"""The options of the commands, and what was given of them, under the names of `Config`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import flags
from jobs.config import BACKENDS, DEVICES, FLOATX
from jobs.errors import JobError
from jobs.flags import MODES

Kind = Callable[[str], Any]

TRAIN_OPTIONS: tuple[tuple[str, Kind, str, str], ...] = (
    ("epochs", int, "N", "passes over the training rows"),
    ("batch-size", int, "N", "rows a step"),
    ("optimizer", str, "NAME[,OPTION=X]", "such as sgd, momentum,momentum=0.9, adam"),
    ("learning-rate", float, "X", "of the cost's gradient; the cost is summed or averaged as --reduction says"),
    ("schedule", str, "NAME[,OPTION=X]", "of the learning rate: constant, step, exponential, inverse, linear, cosine"),
    ("momentum-schedule", str, "NAME[,OPTION=X]", "of the momentum, likewise"),
    ("reduction", str, "sum|mean", "of the cost over a batch"),
    ("l1", float, "X", "times the absolute values of the weights"),
    ("l2", float, "X", "times the squares of the weights"),
    ("penalty", str, "sum|mean", "how those are added up"),
    ("penalised", str, "kernels|all", "whether biases are penalised too"),
    ("early-stopping", str, "NAME[,OPTION=X]", "none, early-1, early-2 or since-best; needs rows held out"),
    ("hold-out", float, "SHARE", "of the training rows, to choose by"),
    ("fold", str, "K/N", "or the K-th of N parts of them, for cross-validation"),
    ("inputs", str, "NAME", "plain, standardised or whitened"),
    ("row-weights", str, "NAME", "none, or covariate: rows count as much as they look like test rows"),
    ("sampling", str, "NAME", "shuffled, balanced or in-order"),
    ("augment", str, "NAME", "how rows are varied in each epoch"),
    ("seed", int, "N", "of weights, dropout and row order (default: 0)"),
    ("print-every", int, "N", "batches between two lines; 0: a line an epoch"),
    ("monitor-every", int, "N", "epochs between two looks into the layers; 0: none"),
    ("weights-formats", str, "LIST", "pickle,npz,safetensors: some of them (default: pickle)"),
    ("output-dir", str, "DIR", "default: $GPURUN_OUTPUT_DIR, else ./output"),
    ("checkpoint-every-s", float, "SECONDS", "from one checkpoint to the next (default: 10)"),
    ("checkpoint-dir", str, "DIR", "default: $GPURUN_CHECKPOINT_DIR, else none"),
    ("initial-weights", str, "FILE", "begin with these (.pkl, .npz, .safetensors), of the same network"),
    ("champion-dir", str, "DIR", "weights to compare with on the same rows (default: $GPURUN_CHAMPION_DIR)"),
)
"""Name, kind, what stands for the value, and the help; all are settings of `Config`."""

MACHINE_OPTIONS: tuple[tuple[str, Kind, str, str], ...] = (
    ("device", str, "|".join(DEVICES), "what to compute on (default: $GPURUN_DEVICE, else cpu)"),
    ("floatx", str, "|".join(FLOATX), "what to compute in (default: $GPURUN_FLOATX, else float32)"),
    ("backend", str, "|".join(BACKENDS), "what Keras computes with (default: $KERAS_BACKEND or tensorflow)"),
    ("mode", str, "|".join(MODES), "how it is compiled, as Theano called it"),
    ("threads", int, "N", "for one operation; 0: one a processor (JAX has its own way)"),
    ("flags", str, "THEANO_FLAGS", "device=gpu,floatX=float32,mode=FAST_RUN: the same, as Theano took it"),
)
"""Likewise."""

NOT_SETTINGS = frozenset(
    {
        "command",
        "set",
        "flags",
        "model",
        "config",
        "weights",
        "output",
        "lookup",
        "to",
        "folder",
        "trials",
        "folds",
        "parallel",
        "measure",
    }
)
"""What a command is told that is no setting of `Config`, or is read in a way of its own."""


def add(command: argparse.ArgumentParser, options: tuple[tuple[str, Kind, str, str], ...]) -> None:
    """Options with a value."""
    for name, kind, metavar, text in options:
        command.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)


def add_data(command: argparse.ArgumentParser) -> None:
    """Which rows."""
    text = "default: what $GPURUN_DATA_DIR holds, else the bundled digits"
    command.add_argument("--data", metavar="NAME|PATH", help=text)


def add_model(command: argparse.ArgumentParser) -> None:
    """Which network, and its own options."""
    command.add_argument("model", metavar="MODEL", help="a name that `python -m jobs list` prints")
    text = "an option of the model's own: see `python -m jobs describe`"
    command.add_argument("--set", action="append", metavar="NAME=VALUE", help=text)


def add_weights(command: argparse.ArgumentParser) -> None:
    """Which weights, and the network that they are of."""
    command.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights.pkl, .npz or .safetensors")
    add_their_model(command)


def add_their_model(command: argparse.ArgumentParser) -> None:
    """The network that weights are of."""
    command.add_argument("--model", metavar="MODEL", help="default: what result.json beside them says")
    command.add_argument("--set", action="append", metavar="NAME=VALUE", help="default: likewise")


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of the settings; what --flags say is overruled by the rest. Raises `JobError`."""
    given = {name: value for name, value in vars(arguments).items() if name not in NOT_SETTINGS}
    given["options"] = _pairs(arguments.set) if arguments.set else None
    if arguments.flags:
        flagged, ignored = flags.parse(arguments.flags)
        if ignored:
            print(f"without effect here: {', '.join(ignored)}", file=sys.stderr)
        given |= {name: value for name, value in flagged.items() if given.get(name) is None}
    return given


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not name or not equals:
            raise JobError(f"--set {text}: expected NAME=VALUE")
    return {name.strip().replace("-", "_"): value for name, _, value in pairs}
