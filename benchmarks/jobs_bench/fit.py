"""One row as a Keras user writes it, with `compile` and `fit` on TensorFlow: `python -m jobs_bench.fit ROW NPZ EPOCHS`.

Prints one line of JSON: the seconds of each epoch with its evaluations, the last test error, the parameters.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
from jobs_bench.data import pixels
from jobs_bench.rows import ROWS, Row
from keras import layers


def deck_mlp() -> keras.Model:
    penalty = {"kernel_regularizer": keras.regularizers.L2(0.01), "bias_regularizer": keras.regularizers.L2(0.01)}
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(300, activation="relu", **penalty),
            layers.Dense(10, **penalty),
        ]
    )


def logistic() -> keras.Model:
    return keras.Sequential([keras.Input((784,)), layers.Dense(10)])


def keras_mlp() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )


def lenet() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, activation="tanh"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, activation="tanh"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="tanh"),
            layers.Dense(10),
        ]
    )


def cnn() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


MODELS = {"deck-mlp": deck_mlp, "logistic": logistic, "keras-mlp": keras_mlp, "lenet": lenet, "cnn": cnn}


class EveryTenBatches(keras.callbacks.Callback):
    """Judges the model on the test rows, as the deck does."""

    def __init__(self, row: Row, x_test: object, y_test: object) -> None:
        super().__init__()
        self.row, self.x_test, self.y_test = row, x_test, y_test

    def on_train_batch_end(self, batch: int, *_: object, **__: object) -> None:
        if batch % self.row.evaluate_every == 0:
            self.model.evaluate(self.x_test, self.y_test, batch_size=len(self.x_test), verbose=0)


class Clock(keras.callbacks.Callback):
    """How long each epoch takes, from the end of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs_s: list[float] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.last = time.perf_counter()

    def on_epoch_end(self, _epoch: int, *_: object, **__: object) -> None:
        now = time.perf_counter()
        self.epochs_s.append(now - self.last)
        self.last = now


def main(name: str, npz: str, epochs: str) -> None:
    row = ROWS[name]
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    pictures = len(model.input_shape) == 4
    x_train, y_train, x_test, y_test = pixels(Path(npz), pictures=pictures)
    optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    reduction = "sum" if name == "deck-mlp" else "sum_over_batch_size"
    model.compile(
        optimizer=optimizers[row.optimizer](row.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction),
        metrics=["accuracy"],
    )
    clock = Clock()
    judge = EveryTenBatches(row, x_test, y_test) if row.evaluate_every else None
    model.fit(
        x_train,
        y_train,
        batch_size=row.batch_size,
        epochs=int(epochs),
        verbose=0,
        validation_data=None if judge else (x_test, y_test),
        callbacks=[judge, clock] if judge else [clock],
    )
    _, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
    print(json.dumps({"epochs_s": clock.epochs_s, "error": 1 - accuracy, "parameters": model.count_params()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
