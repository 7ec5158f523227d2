"""The command line of the jobs; nothing heavy is imported before a command runs."""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from jobs import catalogue
from jobs.config import DEVICES, FLOATX, resolve
from jobs.errors import JobError
from jobs.signals import StopRequest


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
    _add_common(train)
    train.add_argument("--epochs", type=int, metavar="N", help="passes over the training rows")
    train.add_argument("--batch-size", type=int, metavar="N", help="rows a step")
    train.add_argument("--learning-rate", type=float, metavar="X", help="of the cost summed over a batch")
    train.add_argument("--l2", type=float, metavar="X", help="times the sum of squares of weights and biases")
    train.add_argument("--seed", type=int, metavar="N", help="of weights and row order (default: 0)")
    train.add_argument("--print-every", type=int, metavar="N", help="batches between two lines (default: 10)")
    train.add_argument("--output-dir", metavar="DIR", help="default: $GPURUN_OUTPUT_DIR, else ./output")
    train.add_argument("--checkpoint-dir", metavar="DIR", help="default: $GPURUN_CHECKPOINT_DIR, else none")
    train.add_argument("--config", type=Path, metavar="FILE", help="TOML with the same names; options here win")
    train.set_defaults(command=_train)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights.pkl, or an .npz of the same")
    evaluate.add_argument("--model", metavar="MODEL", help="default: what result.json beside them says")
    evaluate.add_argument("--l2", type=float, metavar="X", help="default: likewise")
    _add_common(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data", metavar="digits|PATH", help="default: what $GPURUN_DATA_DIR holds, else the bundled digits"
    )
    command.add_argument(
        "--device", metavar="|".join(DEVICES), help="what to compute on (default: $GPURUN_DEVICE, else cpu)"
    )
    command.add_argument(
        "--floatx", metavar="|".join(FLOATX), help="what to compute in (default: $GPURUN_FLOATX, else float32)"
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
    for kind, settings in model.SETTINGS.items():
        print(f"Settings{f' on {kind}' if kind else ''}: {settings}")
    return 0


def _options(arguments: argparse.Namespace, *without: str) -> dict[str, Any]:
    return {name: value for name, value in vars(arguments).items() if name not in {*without, "command"}}
