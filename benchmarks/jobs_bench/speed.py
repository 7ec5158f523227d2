"""One row of the speed table: every variant in a process of its own, in another order each round."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jobs_bench import children
from jobs_bench.children import CHECKOUT, Failed
from jobs_bench.data import Split
from jobs_bench.rows import BFLOAT16, FIT, FLOAT32, Row
from jobs_bench.store import Store, torch_python

FLOOR = "floor"
KIND = "speed"
LIMIT_S = 1800.0
BENCHMARKS = CHECKOUT / "benchmarks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every variant of a row is given."""

    row: Row
    split: Split
    epochs: int
    folder: Path  # to write into
    env: dict[str, str]


Found = dict[str, Any]


def fit(work: Work) -> Found:
    return _script(work, sys.executable, "fit", work.row.name, str(work.split.path), str(work.epochs))


def torch(work: Work, floatx: str) -> Found:
    name = "torch_loop"
    return _script(work, str(torch_python()), name, work.row.name, str(work.split.path), str(work.epochs), floatx)


def floor(work: Work) -> Found:
    types = f"{FLOAT32},{BFLOAT16}" if children.bfloat16_here() else FLOAT32
    sizes = (str(work.split.train_rows), str(work.split.test_rows))
    return _script(work, sys.executable, "floor", work.row.name, *sizes, types)


def ours(work: Work, floatx: str) -> Found:
    """`python -m jobs train`, as a user starts it; its files tell how long the epochs took."""
    row = work.row
    options = (
        *("--data", str(work.split.path), "--epochs", str(work.epochs), "--floatx", floatx),
        *("--batch-size", str(row.batch_size), "--optimizer", row.optimizer),
        *("--learning-rate", str(row.learning_rate), "--schedule", "constant", "--augment", "none"),
        *("--weights-formats", "npz", *row.options),
    )
    shutil.rmtree(work.folder, ignore_errors=True)
    command = children.train(row.name, options, work.folder)
    ran = children.run(command, CHECKOUT, work.env, limit_s=LIMIT_S)
    result = json.loads((work.folder / "result.json").read_text())
    with np.load(work.folder / "weights.npz") as weights:
        parameters = sum(weights[name].size for name in weights.files)
    return {
        "epochs_s": epochs_s((work.folder / "metrics.jsonl").read_text(), result["seconds"]),
        "error": result["error"],
        "parameters": parameters,
        "whole_s": ran.whole_s,
    }


def epochs_s(metrics: str, training_s: float) -> list[float]:
    """The seconds of each epoch: from one epoch's first line to the next one's, and the first is what is left over.

    So an evaluation between two lines counts, and compiling counts to the first epoch.
    """
    starts: dict[int, float] = {}
    for line in map(json.loads, metrics.splitlines()):
        starts.setdefault(line["epoch"], line["time"])
    times = list(starts.values())
    steady = [after - before for before, after in pairwise(times)]
    return [training_s - sum(steady), *steady]


def _script(work: Work, python: str, module: str, *arguments: str) -> Found:
    command = [python, "-m", f"jobs_bench.{module}", *arguments]
    ran = children.run(command, BENCHMARKS, work.env, limit_s=LIMIT_S)
    return {**json.loads(ran.last_line), "whole_s": ran.whole_s}


VARIANTS: dict[str, Callable[[Work], Found]] = {
    FIT: fit,
    "ours float32": lambda work: ours(work, FLOAT32),
    "ours bfloat16": lambda work: ours(work, BFLOAT16),
    "torch float32": lambda work: torch(work, FLOAT32),
    "torch bfloat16": lambda work: torch(work, BFLOAT16),
    FLOOR: floor,
}


def possible() -> list[str]:
    """The variants that this machine can run; says which it cannot."""
    names = list(VARIANTS)
    if not torch_python().exists():
        print(f"no PyTorch: there is no {torch_python()}", file=sys.stderr)
        names = [name for name in names if not name.startswith("torch")]
    if not children.bfloat16_here():
        print("no bfloat16: the processor has no instructions for it", file=sys.stderr)
        names = [name for name in names if not name.endswith(BFLOAT16)]
    return names


def measure(work: Work, variants: list[str], repeats: int, store: Store) -> None:
    """As many rounds as are not written down yet."""
    name = work.row.name
    for number in range(repeats):
        order = [each for each in variants if not store.has(KIND, row=name, variant=each, round=number)]
        random.Random(f"{name} {number}").shuffle(order)
        for variant in order:
            place = {"row": name, "variant": variant, "round": number, "train_rows": work.split.train_rows}
            try:
                found = VARIANTS[variant](work)
            except Failed as failure:
                found = {"problem": str(failure)}
            store.add(KIND, **place, **found)
            print(f"{name} {number} {variant}: {_told(found)}", file=sys.stderr, flush=True)


def _told(found: Found) -> str:
    if "epochs_s" not in found:
        return str(found.get("problem") or found["floors"])
    return f"{steady_s(found['epochs_s']):.3f} s an epoch, error {found['error']:.2%}"


def steady_s(seconds: list[float]) -> float:
    """The median epoch, without the first, in which things are compiled."""
    return statistics.median(seconds[1:])
