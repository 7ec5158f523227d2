"""Trials, folds, then trials that the test stops: in one server, which imports Keras once."""

from __future__ import annotations

import os
from pathlib import Path

from jobs import runtime
from jobs.cli import main

import_keras = runtime._import_keras


def counted(*arguments: str) -> None:
    with Path("imports.txt").open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    import_keras(*arguments)


runtime._import_keras = counted

TRIALS = """
# what each is told, as `train` would be
logistic --epochs 3 --seed 1
logistic --epochs 3 --learning-rate 1e30

deck-mlp --epochs 3 --learning-rate 1e30 --mode NanGuardMode
deck-mlp --epochs 1 --mode DebugMode
deck-mlp --epochs 1 --mode FAST_COMPILE
logistic --epochs 3 --seed 1 --output-dir again
"""
Path("trials.txt").write_text(TRIALS, encoding="utf-8")
print("status", main(["trials", "trials.txt", "--parallel", "2"]), flush=True)
folds = ["logistic", "--epochs", "2", "--folds", "2", "--parallel", "2", "--output-dir", "folds"]
print("status", main(["cross-validate", *folds]), flush=True)
LONG = "logistic --epochs 5000 --print-every 40 --output-dir long --checkpoint-dir checkpoints"
Path("long.txt").write_text(f"{LONG} --seed 1\n{LONG} --seed 2\n{LONG} --seed 3\n", encoding="utf-8")
print("server", os.getpid(), flush=True)
print("long", flush=True)
print("status", main(["trials", "long.txt", "--parallel", "2"]), flush=True)
