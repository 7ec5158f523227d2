"""The same training with the monitor and without, on the backend that is named; prints figures for the test."""

import json
import sys

import numpy as np

from jobs.cli import main

BACKEND = sys.argv[1]
SHORT = ["--epochs", "3", "--print-every", "0", "--backend", BACKEND]


def run(*arguments):
    assert main([*arguments, *SHORT]) == 0


for every in ("0", "1"):
    run("train", "keras-mlp", "--monitor-every", every, "--output-dir", f"dropout-{every}")  # dropout, Adam
run("train", "logistic", "--monitor-every", "3", "--output-dir", "logistic")

import keras  # noqa: E402  # after the jobs have set it up

from jobs.monitor import activation  # noqa: E402  # likewise

steep = np.array([[0.0, 0.0, 0.9], [0.5, 0.0, 1.0]], np.float32)
found = {
    kind: activation(keras.layers.Dense(3, activation=kind, name=kind), steep)
    for kind in ("relu", "tanh", "sigmoid", "linear")
}
found["lstm"] = activation(keras.layers.LSTM(3, name="lstm"), steep)
print("figures:", json.dumps(found))
