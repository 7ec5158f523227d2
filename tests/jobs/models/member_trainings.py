"""Trains ensembles and layered perceptrons on the digits, in one process; run as a program with a backend's name."""

from __future__ import annotations

import os
import sys

from jobs import runtime
from jobs.cli import main

ENSEMBLES = (("both", "average"), ("committee", "vote"))
SEEDS = 3
LAYERED = (
    ("none", "true", "glorot-sigmoid"),
    ("inverted", "false", "sqrt-n"),
    ("p-keep", "true", "small"),
    ("dropconnect", "false", "sqrt-n-normal"),
    ("dropconnect", "true", "glorot"),
)


def train(folder: str, *arguments: str) -> None:
    """Train, and answer with what was written."""
    assert main(["train", *arguments, "--output-dir", folder]) == 0
    assert main(["predict", f"{folder}/weights.pkl", "--output", f"{folder}/predicted.csv"]) == 0


def evaluate(folder: str) -> None:
    print("evaluate", folder, flush=True)
    assert main(["evaluate", f"{folder}/weights.pkl"]) == 0


def options(**chosen: str) -> list[str]:
    return [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]


def run(backend: str) -> None:
    runtime.load(backend, "cpu", "float32")
    os.environ["GPURUN_BACKEND"] = backend
    for kind, combine in ENSEMBLES:
        chosen = options(kind=kind, combine=combine, members="3", hidden_units="40", row_share="0.8")
        train(f"{kind}-{combine}", "ensemble", "--epochs", "2", *chosen)
        evaluate(f"{kind}-{combine}")
    for kind, norm, initializer in LAYERED:
        chosen = options(dropout_kind=kind, batch_norm=norm, initializer=initializer, input_dropout="0.1")
        chosen += options(hidden_units="80,40", activation="tanh")
        train(f"{kind}-{norm}", "layered-mlp", "--epochs", "4", *chosen)
    evaluate(f"{kind}-{norm}")
    if backend == "tensorflow":
        for seed in range(SEEDS):
            chosen = ["--seed", str(seed), *options(members="3", hidden_units="60")]
            train(f"seed-{seed}", "ensemble", "--epochs", "4", *chosen)


if __name__ == "__main__":
    run(sys.argv[1])
