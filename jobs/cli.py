"""The command line of the jobs; nothing heavy is imported before a command runs."""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from jobs import catalogue, model_options
from jobs.arguments import (
    MACHINE_OPTIONS,
    TRAIN_OPTIONS,
    add,
    add_data,
    add_model,
    add_their_model,
    add_weights,
    settings,
)
from jobs.config import Config, resolve
from jobs.errors import JobError
from jobs.signals import StopRequest

EXPORTS = ("pickle", "npz", "safetensors", "keras", "savedmodel")


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
    for add_command, name, text in (
        (_add_train, "train", "train a model and write its weights"),
        (_add_trials, "trials", "train many times in one go, Keras imported once"),
        (_add_cross_validate, "cross-validate", "train on each of some folds, the others held out"),
        (_add_evaluate, "evaluate", "judge weights on held-out rows"),
        (_add_predict, "predict", "write what weights answer for rows"),
        (_add_export, "export", "write weights in another format"),
        (_add_plot, "plot", "draw what a training left behind"),
        (_add_check, "check", "whether a model can learn at all, before hours are spent on it"),
        (_add_faces, "faces", "write drawn faces, as the real sets have theirs"),
        (_add_list, "list", "name the models"),
        (_add_describe, "describe", "what a model is, its source and its settings"),
    ):
        add_command(commands.add_parser(name, help=text, description=text))
    return root


def _add_train(command: argparse.ArgumentParser) -> None:
    _add_training(command)
    command.set_defaults(command=_train)


def _add_training(command: argparse.ArgumentParser) -> None:
    """What a training is told."""
    add_model(command)
    add_data(command)
    add(command, MACHINE_OPTIONS)
    add(command, TRAIN_OPTIONS)
    command.add_argument(
        "--tensorboard", action="store_true", default=None, help="write the metrics as TensorBoard's events, too"
    )
    command.add_argument("--config", type=Path, metavar="FILE", help="TOML with the same names; options here win")


def _train(arguments: argparse.Namespace) -> int:
    stop = StopRequest()
    stop.install()
    config = resolve(arguments.model, settings(arguments), arguments.config)
    from jobs.train import train  # noqa: PLC0415  # NumPy, not needed to complain of an option

    return train(config, stop)


def _add_parallel(command: argparse.ArgumentParser) -> None:
    command.add_argument("--parallel", type=_count, metavar="N", default=1, help="how many at a time (default: 1)")
    command.add_argument("--measure", metavar="NAME", default="error", help="of result.json, to tell of each")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _add_trials(command: argparse.ArgumentParser) -> None:
    text = "a line a trial: what `train` would be told, such as `mlp --seed 1`"
    command.add_argument("trials", type=Path, metavar="FILE", help=text)
    _add_parallel(command)
    command.set_defaults(command=_trials)


def _trials(arguments: argparse.Namespace) -> int:
    from jobs import trials  # noqa: PLC0415  # likewise

    def resolved(words: list[str]) -> Config:
        told = parser().parse_args(["train", *words])
        return resolve(told.model, settings(told), told.config)

    return trials.run(trials.read(arguments.trials, resolved), arguments.parallel, arguments.measure)


def _add_cross_validate(command: argparse.ArgumentParser) -> None:
    _add_training(command)
    command.add_argument("--folds", type=_count, metavar="K", default=5, help="how many (default: 5)")
    _add_parallel(command)
    command.set_defaults(command=_cross_validate, measure="validation_error")


def _cross_validate(arguments: argparse.Namespace) -> int:
    from jobs import trials  # noqa: PLC0415  # likewise

    config = resolve(arguments.model, settings(arguments), arguments.config)
    return trials.run(trials.folds(config, arguments.folds), arguments.parallel, arguments.measure)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    add_weights(command)
    add_data(command)
    add(command, MACHINE_OPTIONS)
    command.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from jobs.evaluate import evaluate  # noqa: PLC0415  # likewise

    return evaluate(arguments.weights, arguments.model, settings(arguments))


def _add_predict(command: argparse.ArgumentParser) -> None:
    add_weights(command)
    add_data(command)
    command.add_argument("--output", type=Path, metavar="FILE.csv", required=True, help="what to write")
    text = "IdLookupTable.csv, which says what Kaggle wants of key points (default: the one beside the data)"
    command.add_argument("--lookup", type=Path, metavar="FILE", help=text)
    add(command, MACHINE_OPTIONS)
    command.set_defaults(command=_predict)


def _predict(arguments: argparse.Namespace) -> int:
    from jobs.predict import predict  # noqa: PLC0415  # likewise

    return predict(arguments.weights, arguments.model, settings(arguments), arguments.output, arguments.lookup)


def _add_export(command: argparse.ArgumentParser) -> None:
    add_weights(command)
    command.add_argument("--to", choices=EXPORTS, required=True, help="what to write")
    command.add_argument("--output", type=Path, metavar="FILE|DIR", help="default: beside WEIGHTS")
    add(command, MACHINE_OPTIONS)
    command.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> int:
    from jobs.export import export  # noqa: PLC0415  # likewise

    return export(arguments.weights, arguments.model, settings(arguments), arguments.to, arguments.output)


def _add_plot(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="OUTPUT_DIR", help="where a training wrote its files")
    add_their_model(command)
    add_data(command)
    add(command, MACHINE_OPTIONS)
    command.set_defaults(command=_plot)


def _plot(arguments: argparse.Namespace) -> int:
    from jobs.plots.plot import plot  # noqa: PLC0415  # likewise

    return plot(arguments.folder, arguments.model, settings(arguments))


def _add_check(command: argparse.ArgumentParser) -> None:
    add_model(command)
    add_data(command)
    command.add_argument("--seed", type=int, metavar="N", help="of weights and rows (default: 0)")
    add(command, MACHINE_OPTIONS)
    command.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    from jobs.check import check  # noqa: PLC0415  # likewise

    return check(arguments.model, settings(arguments))


def _add_faces(command: argparse.ArgumentParser) -> None:
    command.add_argument("--kind", metavar="key-points|expressions", required=True, help="what is to be learned")
    command.add_argument("--rows", type=int, metavar="N", required=True, help="how many faces")
    command.add_argument("--seed", type=int, metavar="S", default=0, help="of all that is drawn (default: 0)")
    command.add_argument("--output", type=Path, metavar="FILE", required=True, help="the CSV to write")
    command.set_defaults(command=_faces)


def _faces(arguments: argparse.Namespace) -> int:
    from jobs.datasets.faces import write_csv  # noqa: PLC0415  # likewise

    write_csv(arguments.kind, arguments.rows, arguments.seed, arguments.output)
    print(f"{arguments.rows:,} faces for {arguments.kind} in {arguments.output}")
    return 0


def _add_list(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=_list)


def _list(_arguments: argparse.Namespace) -> int:
    width = max(map(len, catalogue.MODELS))
    for name in catalogue.MODELS:
        print(f"{name:{width}}  {catalogue.summary(catalogue.find(name))}")
    return 0


def _add_describe(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL")
    command.set_defaults(command=_describe)


def _describe(arguments: argparse.Namespace) -> int:
    model = catalogue.find(arguments.model)
    print(f"{arguments.model}: {inspect.cleandoc(model.__doc__ or '')}\n")
    for name, default in catalogue.options_of(model).items():
        known = model_options.KNOWN.get(name)
        print(f"Option {name}, by default {default}{f': {known.meaning}' if known else ''}")
    for kind, chosen in model.SETTINGS.items():
        print(f"\nSettings{f' on {kind}' if kind else ', unless the data have their own'}:")
        for name, value in asdict(chosen).items():
            if value not in ({}, (), None):
                print(f"  {name} = {value}")
    return 0
