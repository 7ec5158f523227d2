"""Trainings with each setting, one after the other in one process, since Keras takes seconds to import."""

from __future__ import annotations

from pathlib import Path

from jobs.cli import main

SHORT = ["--epochs", "2", "--threads", "1"]


def run(name: str, *arguments: str) -> None:
    print(f"status {name}: {main(list(arguments))}", flush=True)


def train(name: str, model: str, *arguments: str) -> None:
    run(name, "train", model, *SHORT, *arguments, "--output-dir", name)


train("plain", "logistic", "--flags", "floatX=float32,mode=FAST_RUN,allow_gc=True")
train("fold", "logistic", "--fold", "2/5")
train("hold-out", "logistic", "--hold-out", "0.2", "--early-stopping", "since-best,patience=2")
train("row-weights", "logistic", "--row-weights", "covariate")
for inputs in ("standardised", "whitened"):
    train(inputs, "logistic", "--inputs", inputs)
    run(f"evaluate-{inputs}", "evaluate", f"{inputs}/weights.pkl")
Path("whitened/inputs.npz").write_bytes(Path("whitened/inputs.npz").read_bytes()[:300])
run("cut-inputs", "evaluate", "whitened/weights.pkl")
Path("standardised/inputs.npz").unlink()
run("no-inputs", "evaluate", "standardised/weights.pkl")
train("smaller", "deck-mlp", "--set", "hidden-units=7", "--set", "activation=tanh")
run("evaluate-smaller", "evaluate", "smaller/weights.pkl", "--set", "activation=tanh")  # the units are remembered
train("no-rows-to-choose-by", "logistic", "--early-stopping", "early-1")
train("holds-none", "logistic", "--hold-out", "0.0001")
train("holds-all", "logistic", "--hold-out", "0.9999")
train("too-many-folds", "logistic", "--fold", "2/5000")
train("white-sequences", "rnn", "--data", "sequences", "--inputs", "whitened")
train("rows-of-steps", "ensemble", "--data", "sequences")
train("lbfgs", "deck-mlp", "--optimizer", "lbfgs")
train("lbfgs-with-dropout", "mlp", "--optimizer", "lbfgs")
train("lbfgs-with-batch-norm", "layered-mlp", "--optimizer", "lbfgs", "--set", "batch_norm=1", "--set", "dropout=0")
train("lbfgs-batch-norm", "layered-mlp", "--optimizer", "lbfgs", "--set", "batch_norm=true", "--set", "dropout=0")
