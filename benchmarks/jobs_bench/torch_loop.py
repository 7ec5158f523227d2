"""One row as a PyTorch user writes it: `python -m jobs_bench.torch_loop ROW NPZ EPOCHS float32|bfloat16`.

All rows lie in memory as tensors and a permutation picks the batches, which is faster than a DataLoader. Convolutions
have their memory in `channels_last`, which is faster in bfloat16. Prints one line of JSON, as `fit.py` does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from jobs_bench.data import pixels
from jobs_bench.rows import BFLOAT16, ROWS
from torch import nn
from torch.nn import functional


def deck_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))


def logistic() -> nn.Module:
    return nn.Linear(784, 10)


def keras_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 10),
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.Tanh(),
        nn.Linear(500, 10),
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(1600, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


MODELS = {"deck-mlp": deck_mlp, "logistic": logistic, "keras-mlp": keras_mlp, "lenet": lenet, "cnn": cnn}
PICTURES = frozenset({"lenet", "cnn"})


def main(name: str, npz: str, epochs: str, floatx: str) -> None:
    row = ROWS[name]
    torch.manual_seed(0)
    model = MODELS[name]()
    x_train, y_train, x_test, y_test = map(torch.from_numpy, pixels(Path(npz), pictures=name in PICTURES))
    if name in PICTURES:
        model = model.to(memory_format=torch.channels_last)
        x_train, x_test = x_train.permute(0, 3, 1, 2), x_test.permute(0, 3, 1, 2)
    if row.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=row.learning_rate, eps=1e-7)
    else:  # the deck's penalty, 0.01 times the squares, has twice that as its gradient
        decay = 0.02 if name == "deck-mlp" else 0.0
        optimizer = torch.optim.SGD(model.parameters(), lr=row.learning_rate, weight_decay=decay)
    reduction = "sum" if name == "deck-mlp" else "mean"

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=floatx == BFLOAT16):
            logits = model(x)
            return functional.cross_entropy(logits, y, reduction=reduction), logits

    def evaluate() -> tuple[float, float]:
        """(loss, error), a thousand rows at a time."""
        model.eval()
        loss, wrong = 0.0, 0
        with torch.inference_mode():
            for x, y in zip(x_test.split(1000), y_test.split(1000), strict=True):
                part, logits = loss_of(x, y)
                loss += part.item()
                wrong += (logits.argmax(1) != y).sum().item()
        model.train()
        return loss, wrong / len(x_test)

    epochs_s = []
    for _ in range(int(epochs)):
        began = time.perf_counter()
        order = torch.randperm(len(x_train))[: row.steps(len(x_train)) * row.batch_size]
        for batch, chosen in enumerate(order.split(row.batch_size)):
            optimizer.zero_grad()
            loss, _ = loss_of(x_train[chosen], y_train[chosen])
            loss.backward()
            optimizer.step()
            if row.evaluate_every and batch % row.evaluate_every == 0:
                evaluate()
        if not row.evaluate_every:
            evaluate()
        epochs_s.append(time.perf_counter() - began)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(json.dumps({"epochs_s": epochs_s, "error": evaluate()[1], "parameters": parameters}))


if __name__ == "__main__":
    main(*sys.argv[1:])
