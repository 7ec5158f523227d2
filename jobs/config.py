"""A job's settings: where each comes from, and what it may be."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jobs import catalogue, champion, early_stopping, flags, inputs, schedules
from jobs import model_options as allowed
from jobs.augment import catalogue as augment
from jobs.choice import Choice, number_or_text, parse
from jobs.datasets.source import Source, locate
from jobs.errors import JobError
from jobs.optimizers import catalogue as optimizers
from jobs.sampling import order
from jobs.second_order import catalogue as second_order

DEVICES = ("cpu", "gpu")
FLOATX = ("float32", "float64", "bfloat16", "float16")
HALF = ("bfloat16", "float16")
BACKENDS = ("tensorflow", "jax", "torch")
REDUCTIONS = ("sum", "mean")
PENALISED = ("kernels", "all")
ROW_WEIGHTS = ("none", "covariate")
FORMATS = ("pickle", "npz", "safetensors")
SEED_LIMIT = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One job, checked."""

    model: str  # a name that `python -m jobs list` prints
    options: Mapping[str, Any]  # the model's own: hidden_units, kernels, ..
    data: Source  # the data set
    hold_out: float  # share of the training rows to choose by instead of to learn from; 0: none
    fold: str  # "2/5": the second of five parts of the training rows is held out; "": none
    inputs: str  # plain, standardised or whitened
    row_weights: str  # none, or covariate: training rows count as much as they look like test rows
    sampling: str  # how an epoch's rows are drawn
    augment: str  # how they are varied, anew in every epoch

    epochs: int  # passes over the training rows; the deck's "iterations"
    batch_size: int  # rows a step; the rows that are left over at the end of an epoch sit it out
    optimizer: Choice
    learning_rate: float
    schedule: Choice  # of the learning rate
    momentum_schedule: Choice  # of the momentum, where the optimiser has one
    reduction: str  # whether the cost is the sum or the mean over the batch: the rate goes with it
    l1: float  # times the absolute values of what is penalised
    l2: float  # times their squares
    penalty: str  # whether those are summed, or averaged over each variable
    penalised: str  # weights alone, or biases too
    early_stopping: Choice

    seed: int  # of the first weights, of dropout, and of the order of the rows
    device: str  # cpu or gpu; a GPU that is asked for and not there is an error
    floatx: str  # what is computed in; with the two half types the weights stay float32
    backend: str  # what Keras computes with
    mode: str  # how it is compiled, by Theano's names
    threads: int  # that one operation may use; 0: as many as there are processors

    print_every: int  # batches from one `Cost / err` line to the next; 0: a line at the end of each epoch
    monitor_every: int  # epochs from one look into the layers to the next; 0: none
    output_dir: Path  # weights.pkl, metrics.jsonl and result.json
    checkpoint_dir: Path | None  # read at the start where there is a checkpoint; None: no checkpoints
    champion_dir: Path | None  # weights that the new ones are compared with at the end, on the same rows; None: none
    initial_weights: Path | None  # where training begins; None: at a draw by the seed
    checkpoint_every_s: float  # seconds from one checkpoint to the next: what a machine that dies at once may lose
    weights_formats: tuple[str, ...]  # of the weights files
    tensorboard: bool  # whether the metrics are written as TensorBoard's events, too

    input_shape: tuple[int, ...] = ()  # of one row, known once the data is read
    image_shape: tuple[int, int, int] | None = None  # likewise: the picture that a row is
    classes: int = 0  # likewise; 0: the targets are numbers
    targets: tuple[str, ...] = ()  # likewise: their names

    @property
    def outputs(self) -> int:
        """How many numbers the network answers for one row."""
        return self.classes or len(self.targets)


SWEPT = "GPURUN_SETTING_"
DERIVED = frozenset({"input_shape", "image_shape", "classes", "targets"})
PLACES = ("checkpoint_dir", "champion_dir", "initial_weights")
"""Files and folders that there need not be."""
OPTIONS = frozenset(field.name for field in fields(Config)) - DERIVED - {"model"}
"""What a config file may set; the command line's names, with `_` for `-`."""

SAME = OPTIONS - {
    *("data", "epochs", "device", "mode", "print_every", "monitor_every"),
    *("output_dir", "checkpoint_dir", "checkpoint_every_s", "weights_formats", "tensorboard"),
    *("champion_dir", "initial_weights"),  # who goes on from a checkpoint has begun already
}
"""What a checkpoint must agree on with the job that goes on from it, beside the data's contents."""


def resolve(model: str, options: Mapping[str, Any], config_file: Path | None) -> Config:
    """The settings of `model`: the command line's, else the file's, else gpurun's environment, else the model's own.

    A sweep's come before all of them.

    `options` holds None for what was not given. Raises `JobError` for what cannot be.
    """
    given = read_file(config_file) if config_file else {}
    told = {name: value for name, value in options.items() if value is not None}
    if isinstance(given.get("options"), Mapping) and isinstance(told.get("options"), Mapping):
        told["options"] = {**given["options"], **told["options"]}
    given |= told
    given |= swept(os.environ, given)
    found = catalogue.find(model)
    source = locate(given.pop("data", None), os.environ)
    usual = asdict(catalogue.settings_for(found, source.kind))
    if given.get("fold"):
        usual["hold_out"] = 0.0  # the fold is what is held out
    half_threads = usual.pop("half_threads")
    chosen: dict[str, Any] = {
        "seed": 0,
        "mode": "FAST_RUN",
        "fold": "",
        "inputs": "plain",
        "row_weights": "none",
        "sampling": "shuffled",
        "monitor_every": 0,
        "checkpoint_every_s": 10.0,
        "weights_formats": ("pickle",),
        "tensorboard": False,
        **usual,
        **from_environment(os.environ),
        **given,
    }
    if half_threads is not None and "threads" not in given and chosen["floatx"] in HALF:
        chosen["threads"] = half_threads
    chosen["options"] = model_options(model, found, chosen["options"], usual["options"])
    for name, check_choice in CHOICES.items():
        chosen[name] = parse(name, chosen[name])
        check_choice(chosen[name].name, chosen[name].options)
    chosen["mode"] = flags.mode(str(chosen["mode"]))
    chosen["weights_formats"] = _formats(chosen["weights_formats"])
    check(chosen)
    chosen |= {name: _folder(name, chosen[name]) for name in ("output_dir", *PLACES)}
    return Config(model=model, data=source, **chosen)


def _check_optimizer(name: str, options: Mapping[str, Any]) -> None:
    if name in second_order.METHODS:
        second_order.check(name, options)
    elif name in optimizers.OPTIMIZERS:
        optimizers.check(name, options)
    else:
        near = catalogue.nearest(name, [*optimizers.OPTIMIZERS, *second_order.METHODS])
        raise JobError(f"unknown optimizer {name!r}{near}")


def _check_early_stopping(name: str, options: Mapping[str, Any]) -> None:
    if name != "none":
        early_stopping.make(name, **options)


CHOICES: Mapping[str, Callable[[str, Mapping[str, Any]], object]] = MappingProxyType(
    {
        "optimizer": _check_optimizer,
        "schedule": schedules.check,
        "momentum_schedule": schedules.check,
        "early_stopping": _check_early_stopping,
    }
)
"""What has options of its own, and who knows them."""


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What gpurun's job contract says, or would if it were there."""
    return {
        "device": environ.get("GPURUN_DEVICE") or "cpu",
        "floatx": environ.get("GPURUN_FLOATX") or "float32",
        "backend": environ.get("GPURUN_BACKEND") or environ.get("KERAS_BACKEND") or "tensorflow",
        "output_dir": environ.get("GPURUN_OUTPUT_DIR") or "output",
        "checkpoint_dir": environ.get("GPURUN_CHECKPOINT_DIR") or None,
        "champion_dir": environ.get("GPURUN_CHAMPION_DIR") or None,
        "initial_weights": champion.initial(environ),
    }


def swept(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep's settings: GPURUN_SETTING_BATCH_SIZE is `batch_size`; what is none of ours is the model's own option.

    They are over whatever else was said: a sweep that something overrules compares a job to itself.
    """
    told = {
        name.removeprefix(SWEPT).lower(): number_or_text(value)
        for name, value in environ.items()
        if name.startswith(SWEPT)
    }
    ours = {name: value for name, value in told.items() if name in OPTIONS - {"options"}}
    own = {name: value for name, value in told.items() if name not in ours}
    before = given.get("options")
    return ours | ({"options": {**(before if isinstance(before, Mapping) else {}), **own}} if own else {})


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, under the names of `Config`; raises `JobError` for an unknown name."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(f"cannot read the config file {path}: {error.strerror}") from error
    except ValueError as error:
        raise JobError(f"{path} is no TOML: {error}") from error
    for name in settings:
        if name not in OPTIONS:
            raise JobError(f"{path}: unknown setting {name!r}{catalogue.nearest(name, OPTIONS)}")
    return settings


def model_options(model: str, found: catalogue.Model, given: object, usual: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own options: what is given, else `usual` on such data, else the default; raises `JobError`."""
    defaults = {**catalogue.options_of(found), **usual}
    if not isinstance(given, Mapping):
        raise JobError(f"options is {given!r}: expected a table of the model's own options")
    for name in given:
        if name not in defaults:
            hint = catalogue.nearest(name, defaults) if defaults else ": it has none"
            raise JobError(f"{model} has no option {name!r}{hint}")
    chosen = {n: _like(n, given[n], default) if n in given else default for n, default in defaults.items()}
    allowed.check(model, chosen)
    return chosen


def _like(name: str, value: object, default: object) -> Any:
    """`value` as the kind of thing that `default` is."""
    if isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, list | tuple) else [parts]
        parts = [] if parts == [""] else parts  # of `hidden_units=`
        return tuple(_like(name, part, default[0]) for part in parts)
    read = number_or_text(value.strip()) if isinstance(value, str) else value
    kinds = (int, float) if type(default) is float else (type(default),)
    if not isinstance(read, kinds) or isinstance(read, bool) is not isinstance(default, bool):
        raise JobError(f"{name} is {value!r}: expected something like {default!r}")
    return float(str(read)) if isinstance(default, float) else read


def check(chosen: Mapping[str, Any]) -> None:
    """Raise `JobError` for the first value that cannot be."""
    for name, least in (("epochs", 1), ("batch_size", 1), ("print_every", 0), ("monitor_every", 0), ("threads", 0)):
        _check_whole(name, chosen[name], at_least=least)
    _check_whole("seed", chosen["seed"], at_least=0)
    if chosen["seed"] >= SEED_LIMIT:
        raise JobError(f"seed {chosen['seed']} is too large: expected less than {SEED_LIMIT}")
    _check_real("learning_rate", chosen["learning_rate"])
    for name in ("l1", "l2", "hold_out", "checkpoint_every_s"):
        _check_real(name, chosen[name], zero=True)
    if not isinstance(chosen["tensorboard"], bool):
        raise JobError(f"tensorboard is {chosen['tensorboard']!r}: expected true or false")
    _check_names(chosen)
    _check_held_out(chosen)


def _check_names(chosen: Mapping[str, Any]) -> None:
    for name, known in (
        ("device", DEVICES),
        ("floatx", FLOATX),
        ("backend", BACKENDS),
        ("reduction", REDUCTIONS),
        ("penalty", REDUCTIONS),
        ("penalised", PENALISED),
        ("inputs", inputs.NAMES),
        ("row_weights", ROW_WEIGHTS),
        ("sampling", order.NAMES),
    ):
        if chosen[name] not in known:
            raise JobError(f"{name} {chosen[name]!r} is unknown: expected {', '.join(known)}")
    stop = chosen["momentum_schedule"].options.get("stop", 0.0)
    if chosen["momentum_schedule"].name == "linear" and not stop < 1:
        raise JobError(f"momentum_schedule: stop is {stop}: expected a momentum below 1")
    augment.find(str(chosen["augment"]))


def _check_held_out(chosen: Mapping[str, Any]) -> None:
    if chosen["hold_out"] >= 1:
        raise JobError(f"hold_out is {chosen['hold_out']}: expected a share of the training rows, below 1")
    if chosen["fold"]:
        fold_of(str(chosen["fold"]))
        if chosen["hold_out"]:
            raise JobError("hold_out and fold both hold rows out: say one of them")


def fold_of(text: str) -> tuple[int, int]:
    """(which, of how many) of `2/5`; raises `JobError` for what is no such part."""
    which, slash, folds = text.partition("/")
    if not (slash and which.isdecimal() and folds.isdecimal() and 1 <= int(which) <= int(folds) >= 2):
        raise JobError(f"fold is {text!r}: expected one of some parts, such as 2/5")
    return int(which), int(folds)


def _check_whole(name: str, value: object, *, at_least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise JobError(f"{name} is {value!r}: expected a whole number of at least {at_least}")


def _check_real(name: str, value: object, *, zero: bool = False) -> None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not numeric or value < 0 or (value == 0 and not zero):  # type: ignore[operator]  # a number, by now
        raise JobError(f"{name} is {value!r}: expected a number {'of at least' if zero else 'above'} 0")


def _formats(value: object) -> tuple[str, ...]:
    names = tuple(value.split(",")) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or any(name not in FORMATS for name in names):
        raise JobError(f"weights_formats is {value!r}: expected some of {', '.join(FORMATS)}")
    return tuple(names)


def _folder(name: str, value: object) -> Path | None:
    if value is None and name in PLACES:
        return None
    if not isinstance(value, str | Path) or not str(value):
        kind = "file" if name == "initial_weights" else "folder"
        raise JobError(f"{name} is {value!r}: expected a {kind}'s name")
    return Path(value)
