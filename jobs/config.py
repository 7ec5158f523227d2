"""A job's settings: where each comes from, and what it may be."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobs import catalogue
from jobs.datasets.source import Source, locate
from jobs.errors import JobError

DEVICES = ("cpu", "gpu")
FLOATX = ("float32", "float64", "bfloat16", "float16")
SEED_LIMIT = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One job, checked."""

    model: str  # a name that `python -m jobs list` prints
    data: Source  # the data set
    epochs: int  # passes over the training rows; the deck's "iterations"
    batch_size: int  # rows a step; the rows that are left over at the end of an epoch sit it out
    learning_rate: float  # of the gradient of the cost summed over the batch, not of its mean
    l2: float  # times the sum of the squares of all weights and biases, added to the cost
    seed: int  # of the first weights and of the order of the rows
    device: str  # cpu or gpu; a GPU that is asked for and not there is an error
    floatx: str  # what is computed in; with the two half types the weights stay float32
    print_every: int  # batches from one `Cost / err` line to the next
    output_dir: Path  # weights.pkl, metrics.jsonl and result.json
    checkpoint_dir: Path | None  # checkpoint.npz, read at the start where there is one; None: no checkpoints
    input_shape: tuple[int, ...] = ()  # of one row, known once the data is read
    classes: int = 0  # likewise


OPTIONS = frozenset(field.name for field in fields(Config)) - {"model", "input_shape", "classes"}
"""What a config file may set; the command line's names, with `_` for `-`."""


def resolve(model: str, options: Mapping[str, Any], config_file: Path | None) -> Config:
    """The settings of `model`: the command line's, else the file's, else gpurun's environment, else the model's own.

    `options` holds None for what was not given. Raises `JobError` for what cannot be.
    """
    given = read_file(config_file) if config_file else {}
    given |= {name: value for name, value in options.items() if value is not None}
    source = locate(given.pop("data", None), os.environ)
    defaults = catalogue.settings_for(catalogue.find(model), source.kind)
    chosen: dict[str, Any] = {
        "epochs": defaults.epochs,
        "batch_size": defaults.batch_size,
        "learning_rate": defaults.learning_rate,
        "l2": defaults.l2,
        "seed": 0,
        "print_every": 10,
        **from_environment(os.environ),
        **given,
    }
    check(chosen)
    chosen |= {name: _folder(name, chosen[name]) for name in ("output_dir", "checkpoint_dir")}
    return Config(model=model, data=source, **chosen)


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What gpurun's job contract says, or would if it were there."""
    return {
        "device": environ.get("GPURUN_DEVICE") or "cpu",
        "floatx": environ.get("GPURUN_FLOATX") or "float32",
        "output_dir": environ.get("GPURUN_OUTPUT_DIR") or "output",
        "checkpoint_dir": environ.get("GPURUN_CHECKPOINT_DIR") or None,
    }


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


def check(chosen: Mapping[str, Any]) -> None:
    """Raise `JobError` for the first value that cannot be."""
    for name in ("epochs", "batch_size", "print_every"):
        _check_whole(name, chosen[name], at_least=1)
    _check_whole("seed", chosen["seed"], at_least=0)
    if chosen["seed"] >= SEED_LIMIT:
        raise JobError(f"seed {chosen['seed']} is too large: expected less than {SEED_LIMIT}")
    _check_real("learning_rate", chosen["learning_rate"])
    _check_real("l2", chosen["l2"], zero=True)
    for name, known in (("device", DEVICES), ("floatx", FLOATX)):
        if chosen[name] not in known:
            raise JobError(f"{name} {chosen[name]!r} is unknown: expected {', '.join(known)}")


def _check_whole(name: str, value: object, *, at_least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise JobError(f"{name} is {value!r}: expected a whole number of at least {at_least}")


def _check_real(name: str, value: object, *, zero: bool = False) -> None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not numeric or value < 0 or (value == 0 and not zero):  # type: ignore[operator]  # a number, by now
        raise JobError(f"{name} is {value!r}: expected a number {'of at least' if zero else 'above'} 0")


def _folder(name: str, value: object) -> Path | None:
    if value is None and name == "checkpoint_dir":
        return None
    if not isinstance(value, str | Path) or not str(value):
        raise JobError(f"{name} is {value!r}: expected a folder's name")
    return Path(value)
