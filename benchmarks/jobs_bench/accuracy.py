"""Each model by its own recipe, over several seeds: the last epoch's test error, and how long it took."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs_bench import children
from jobs_bench.children import CHECKOUT, Failed
from jobs_bench.store import Line, Store, latest, problems
from report.table import seconds, table

from jobs.datasets import faces, sequences

KIND = "accuracy"
MNIST = "mnist"
ALLOWED_S = 1800.0
"""After so long a run is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model, its data and what it is to reach; what it is trained with are its own settings."""

    name: str
    title: str
    model: str
    data: str = MNIST
    options: tuple[str, ...] = ()
    goal: float | None = None  # at most this error, with every seed
    unit: str = "%"  # of the error; px: a root mean square in pixels
    scale: float = 1.0  # from the error that is written to that unit
    limit_s: float | None = None  # for the whole process
    beside: str = ""  # the goal is to be better than this row by `margin`
    margin: float = 0.0


ABOVE_FLOOR = 1.2
"""How near is wanted to what no reader of the drawn faces can beat."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="logistic", title="logistic regression", model="logistic", goal=0.075, limit_s=10),
        Recipe(name="mlp", title="MLP 500", model="mlp", goal=0.015, limit_s=60),
        Recipe(name="keras-mlp", title="Keras MLP 512-512", model="keras-mlp", goal=0.015, limit_s=90),
        Recipe(name="lenet", title="LeNet 20/50", model="lenet", goal=0.006, limit_s=90),
        Recipe(name="cnn", title="CNN 32/64", model="cnn", goal=0.0055, limit_s=90),
        Recipe(name="dbn", title="DBN 1000-1000-1000", model="dbn", goal=0.0134, limit_s=360),
        Recipe(
            name="dbn-alone",
            title="the same without pre-training",
            model="dbn",
            options=("--set", "pretraining_epochs=0"),
        ),
        Recipe(
            name="key-points",
            title="key points of drawn faces",
            model="key-points",
            data="faces-key-points",
            goal=faces.KEY_POINTS_FLOOR * ABOVE_FLOOR,
            unit="px",
            scale=48,  # targets are -1..1 over 96 pixels
        ),
        Recipe(
            name="expressions",
            title="expressions of drawn faces",
            model="expressions",
            data="faces-expressions",
            goal=faces.EXPRESSIONS_FLOOR * ABOVE_FLOOR,
        ),
        Recipe(name="rnn", title="RNN on early markers", model="rnn", data="sequences"),
        Recipe(
            name="lstm",
            title="LSTM on early markers",
            model="lstm",
            data="sequences",
            beside="rnn",
            margin=sequences.MARGIN,
        ),
    )
}


def possible(names: Sequence[str]) -> list[str]:
    """Those whose model is there; says which is not."""
    listed = children.run([sys.executable, "-m", "jobs", "list"], CHECKOUT, children.environment(Path()), limit_s=60)
    known = {line.split()[0] for line in listed.text.splitlines() if line}
    for name in names:
        if RECIPES[name].model not in known:
            print(f"{name}: there is no model {RECIPES[name].model} yet", file=sys.stderr)
    return [name for name in names if RECIPES[name].model in known]


def words_of(recipe: Recipe, extra: Sequence[str]) -> list[str]:
    """What its runs are told, but for the seed and the folders."""
    return [recipe.model, *recipe.options, *extra]


def measure(
    recipes: Sequence[Recipe], seeds: int, mnist: Path, scratch: Path, extra: Sequence[str], store: Store
) -> None:
    """Every seed of every row that is not written down yet, seed by seed, so that a part of it tells something."""
    for seed in range(seeds):
        for recipe in recipes:
            told = words_of(recipe, extra)
            place = {"row": recipe.name, "seed": seed, "command": " ".join(told)}
            if store.has(KIND, **place):
                print(f"{recipe.name}, seed {seed}: done before", file=sys.stderr)
                continue
            data = str(mnist) if recipe.data == MNIST else recipe.data
            output = scratch / recipe.name
            options = (*told[1:], "--data", data, "--seed", str(seed))
            try:
                found = _trained(children.train(recipe.model, options, output), output, scratch)
            except Failed as failure:
                found = {"problem": str(failure)}
            store.add(KIND, **place, **found)
            shutil.rmtree(output, ignore_errors=True)
            print(f"{recipe.name}, seed {seed}: {found}", file=sys.stderr, flush=True)


def _trained(command: list[str], output: Path, scratch: Path) -> dict[str, float]:
    env = children.environment(scratch / "cache")
    ran = children.run(command, CHECKOUT, env, limit_s=ALLOWED_S)
    result = json.loads((output / "result.json").read_text())
    error = result["error"] if "error" in result else result["rmse"]
    return {"error": error, "training_s": result["seconds"], "whole_s": ran.whole_s}


NOTES = """\
Each model with its own settings on MNIST (else as it says), the error of the last epoch on the test rows, which nothing
was chosen by; seconds of the training and of the whole process, with starting Python and writing the weights. Every
seed must reach the goal, and the slowest must be in time. The faces are drawn: no reader of them has less than
2 pixels, or 10 % of wrong expressions, and a fifth above that is wanted. Of the early markers 75 % are wrong by
chance; the LSTM is to be better than the RNN by its margin, by the medians."""

HEADERS = (
    *("row", "told", "goal", "seeds", "least error", "median", "largest", "met"),
    *("training, s", "whole, s", "slowest", "limit, s", "in time"),
)


def report(seen: list[Line]) -> str:
    """The table; empty where nothing is measured."""
    rows = latest(seen, KIND)
    if not rows:
        return ""
    abouts = sorted({lines[-1]["about"] for lines in rows.values()})
    found = [_row(RECIPES[name], rows) for name in RECIPES if name in rows]
    failed = [each for lines in rows.values() for each in problems(lines)]
    parts = [
        "## Jobs: accuracy",
        f"Made by `python benchmarks/training.py --accuracy`. Measured on {' and on '.join(abouts)}.",
        NOTES,
        table(HEADERS, found),
        *(f"**{each['row']}, seed {each['seed']}: {each['problem']}**" for each in failed),
    ]
    return "\n\n".join(parts) + "\n"


def _well(lines: Sequence[Line]) -> list[Line]:
    """One a seed, the last, of those that were told the same as the last of all."""
    command = lines[-1]["command"] if lines else ""
    by_seed = {each["seed"]: each for each in lines if "error" in each and each["command"] == command}
    return list(by_seed.values())


def _row(recipe: Recipe, rows: dict[str, list[Line]]) -> list[str]:
    well = _well(rows[recipe.name])
    if not well:
        return [recipe.title, rows[recipe.name][-1]["command"], "-", "0", *["-"] * (len(HEADERS) - 4)]
    errors, wholes = [each["error"] * recipe.scale for each in well], [each["whole_s"] for each in well]
    other = _well(rows.get(recipe.beside, []))
    goal, text = recipe.goal, "-" if recipe.goal is None else f"<= {_error(recipe.goal, recipe)}"
    if recipe.beside:
        goal = statistics.median(each["error"] for each in other) - recipe.margin if other else None
        text = f"{recipe.margin * 100:g} points below {recipe.beside}"
    reached = statistics.median(errors) if recipe.beside else max(errors)
    return [
        recipe.title,
        f"`{well[-1]['command']}`",
        text,
        str(len(well)),
        *(_error(pick(errors), recipe) for pick in (min, statistics.median, max)),
        "-" if goal is None else "yes" if reached <= goal else "**no**",
        seconds(statistics.median(each["training_s"] for each in well)),
        seconds(statistics.median(wholes)),
        seconds(max(wholes)),
        "-" if recipe.limit_s is None else f"{recipe.limit_s:g}",
        "-" if recipe.limit_s is None else "yes" if max(wholes) <= recipe.limit_s else "**no**",
    ]


def _error(value: float, recipe: Recipe) -> str:
    return f"{value:.2%}" if recipe.unit == "%" else f"{value:.3f} {recipe.unit}"
