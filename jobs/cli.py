"""The command line of the jobs; nothing heavy is imported before a command runs."""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jobs import catalogue, flags
from jobs.config import BACKENDS, DEVICES, FLOATX, resolve
from jobs.errors import JobError
from jobs.flags import MODES
from jobs.signals import StopRequest

TRAIN_OPTIONS: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
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
    ("sampling", str, "NAME", "shuffled, balanced or in-order"),
    ("augment", str, "NAME", "how rows are varied in each epoch"),
    ("seed", int, "N", "of weights, dropout and row order (default: 0)"),
    ("print-every", int, "N", "batches between two lines; 0: a line an epoch"),
    ("monitor-every", int, "N", "epochs between two looks into the layers; 0: none"),
    ("weights-formats", str, "LIST", "pickle,npz,safetensors: some of them (default: pickle)"),
    ("output-dir", str, "DIR", "default: $GPURUN_OUTPUT_DIR, else ./output"),
    ("checkpoint-dir", str, "DIR", "default: $GPURUN_CHECKPOINT_DIR, else none"),
)
"""Name, kind, what stands for the value, and the help; all are settings of `Config`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and the way to more, instead of the whole usage."""
        raise JobError(f"{message} (see {self.prog} --help)")


def main(argv: list[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        arguments = parser().parse_args(argv)
        return int(arguments.command(arguments))
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # nobody reads on, as in `python -m jobs train .. | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    root = _Parser(prog="python -m jobs", description="Train and judge models, on this machine.")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    _add_train(commands.add_parser("train", help="train a model and write its weights"))
    _add_evaluate(commands.add_parser("evaluate", help="judge weights on held-out rows"))
    commands.add_parser("list", help="name the models").set_defaults(command=_list)
    describe = commands.add_parser("describe", help="what a model is, its source and its settings")
    describe.add_argument("model", metavar="MODEL")
    describe.set_defaults(command=_describe)
    return root


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("model", metavar="MODEL", help="a name that `python -m jobs list` prints")
    _add_data(train)
    _add_machine(train)
    for name, kind, metavar, text in TRAIN_OPTIONS:
        train.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)
    train.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="an option of the model's own: see `python -m jobs describe`",
    )
    train.add_argument("--config", type=Path, metavar="FILE", help="TOML with the same names; options here win")
    train.set_defaults(command=_train)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    _add_weights(evaluate)
    _add_data(evaluate)
    _add_machine(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights.pkl, .npz or .safetensors")
    command.add_argument("--model", metavar="MODEL", help="default: what result.json beside them says")
    command.add_argument("--set", action="append", metavar="NAME=VALUE", help="default: likewise")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data", metavar="NAME|PATH", help="default: what $GPURUN_DATA_DIR holds, else the bundled digits"
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device", metavar="|".join(DEVICES), help="what to compute on (default: $GPURUN_DEVICE, else cpu)"
    )
    command.add_argument(
        "--floatx", metavar="|".join(FLOATX), help="what to compute in (default: $GPURUN_FLOATX, else float32)"
    )
    command.add_argument(
        "--backend", metavar="|".join(BACKENDS), help="what Keras computes with (default: $KERAS_BACKEND or tensorflow)"
    )
    command.add_argument("--mode", metavar="|".join(MODES), help="how it is compiled, as Theano called it")
    command.add_argument("--threads", type=int, metavar="N", help="for one operation; 0: one a processor")
    command.add_argument(
        "--flags", metavar="THEANO_FLAGS", help="device=gpu,floatX=float32,mode=FAST_RUN: the same, as Theano took it"
    )


def _train(arguments: argparse.Namespace) -> int:
    stop = StopRequest()
    stop.install()
    config = resolve(arguments.model, _options(arguments, "model", "config"), arguments.config)
    from jobs.train import train  # noqa: PLC0415  # NumPy, not needed to complain of an option

    return train(config, stop)


def _evaluate(arguments: argparse.Namespace) -> int:
    from jobs.evaluate import evaluate  # noqa: PLC0415  # likewise

    return evaluate(arguments.weights, arguments.model, _options(arguments, "weights", "model"))


def _list(_arguments: argparse.Namespace) -> int:
    width = max(map(len, catalogue.MODELS))
    for name in catalogue.MODELS:
        print(f"{name:{width}}  {catalogue.summary(catalogue.find(name))}")
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    model = catalogue.find(arguments.model)
    print(f"{arguments.model}: {inspect.cleandoc(model.__doc__ or '')}\n")
    for name, default in catalogue.options_of(model).items():
        print(f"Option {name}, by default {default}")
    for kind, settings in model.SETTINGS.items():
        print(f"Settings{f' on {kind}' if kind else ''}: {settings}")
    return 0


def _options(arguments: argparse.Namespace, *without: str) -> dict[str, Any]:
    """What was given on the command line, under the names of `Config`; what --flags say is overruled by the rest."""
    given = {
        name: value for name, value in vars(arguments).items() if name not in {*without, "command", "set", "flags"}
    }
    given["options"] = _pairs(arguments.set) if arguments.set else None
    if arguments.flags:
        settings, ignored = flags.parse(arguments.flags)
        if ignored:
            print(f"without effect here: {', '.join(ignored)}", file=sys.stderr)
        given |= {name: value for name, value in settings.items() if given.get(name) is None}
    return given


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not name or not equals:
            raise JobError(f"--set {text}: expected NAME=VALUE")
    return {name.strip().replace("-", "_"): value for name, _, value in pairs}
