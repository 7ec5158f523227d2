"""`python -m jobs plot`: what a training left behind, as PNG files in OUTPUT_DIR/plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jobs import trained, weights
from jobs.datasets import key_points
from jobs.errors import JobError
from jobs.files import make_folder
from jobs.plots import answers, canvas, curves
from jobs.plots import weights as weights_plot
from jobs.predict import probabilities
from jobs.trained import Trained

PLOTS = "plots"


def plot(folder: Path, model: str | None, options: dict[str, Any]) -> int:
    """Draw the curves in `folder`, and what its weights do with the data; raises `JobError`."""
    if not folder.is_dir():
        raise JobError(f"{folder} is no folder: expected what `train` was told as --output-dir")
    canvas.figure(1, 1)  # better said now than after Keras is imported
    metrics = curves.read(folder)
    figures = {"learning-curves": curves.learning(metrics), "layers": curves.layers(metrics)}
    path = next(
        (path for end in weights.ENDINGS.values() if (path := folder / f"{weights.STEM}.{end}").is_file()), None
    )
    make_folder(folder / PLOTS)
    _write(folder, iter(figures.items()))
    if path is None:
        print(f"{folder} holds no weights: there is nothing more to draw")
        return 0
    _write(folder, _of_weights(trained.load(path, model, options)))
    return 0


def _write(folder: Path, figures: Iterator[tuple[str, Any]]) -> None:
    """Save those that there are; a file of a training before is not left for one that there is not."""
    for name, drawn in figures:
        path = folder / PLOTS / f"{name}.png"
        if drawn is None:
            path.unlink(missing_ok=True)
        else:
            print(canvas.save(drawn, path), flush=True)


def _of_weights(found: Trained) -> Iterator[tuple[str, Any]]:
    """The figures for which the network is needed, one after the other."""
    from jobs import network  # noqa: PLC0415  # it imports Keras
    from jobs.plots import activations  # noqa: PLC0415  # likewise

    dataset, net = found.dataset, found.network
    kernels = [variable for variable in net.model.trainable_variables if len(variable.shape) > 1]
    arrays = network.weights(net.model)
    yield "first-layer", weights_plot.first_layer(arrays[kernels[0].path], dataset.image_shape) if kernels else None
    x, y, shape = dataset.test_x, dataset.test_y, dataset.image_shape
    yield "activations", activations.draw(net.model, x, y, dataset.scale, shape)
    outputs = net.answers(x)
    pictures = x.reshape(-1, *shape) * np.float32(dataset.scale) if shape else None
    answered = net.objective.decide(outputs)
    if net.objective.__name__.endswith("contrastive_divergence"):
        yield (
            "reconstructions",
            None if pictures is None else answers.reconstructions(pictures, answered.reshape(pictures.shape)),
        )
    elif dataset.classes:
        yield "confusion", answers.confusion(y, answered, dataset.classes)
        yield (
            "worst-errors",
            None if pictures is None else answers.worst_classes(pictures, y, answered, probabilities(outputs)),
        )
    elif pictures is not None and set(dataset.targets) <= set(key_points.COLUMNS):
        yield "worst-errors", answers.worst_faces(pictures, y, answered, dataset.targets)
