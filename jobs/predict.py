"""`python -m jobs predict`: what weights that came home answer for rows, as a CSV.

Of a data set with answers the held-out rows are taken: `row`, `class`, `probability` and the true `label`, or a column
for each number. Of a file without answers all rows are, as Kaggle wants them: `ImageId,Label` for digits; for key
points `RowId,Location` where `--lookup` names IdLookupTable.csv or it lies beside the file, else `ImageId` and a column
for each coordinate.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import submission, trained
from jobs.datasets import key_points, unlabelled
from jobs.datasets.unlabelled import Unlabelled
from jobs.errors import JobError
from jobs.files import make_folder, write_atomically
from jobs.outputs import RESULT, read_result
from jobs.trained import Trained

Table = tuple[Sequence[str], Iterable[Sequence[Any]]]
"""The columns, and the rows."""


def predict(path: Path, model: str | None, options: dict[str, Any], output: Path, lookup: Path | None = None) -> int:
    """Write the answers of the weights in `path` to `output`; raises `JobError`."""
    data = options.get("data")
    asked = unlabelled.read(Path(data)) if data else None
    found = trained.load(path, model, options, None if asked is None else _rows(asked, path))
    if found.network.objective.__name__.endswith("contrastive_divergence"):
        raise JobError(f"{found.config.model} tells no classes, it reconstructs: see `python -m jobs plot`")
    if lookup and (asked is None or found.dataset.classes):
        raise JobError("--lookup goes with --data test.csv of the key points, whose pictures have an ImageId")
    outputs = found.network.answers(found.dataset.test_x)
    if asked is None:
        columns, rows = _judged(found, outputs)
    else:
        beside = Path(str(data)).parent / submission.LOOKUP
        columns, rows = _asked(found, outputs, asked, lookup or (beside if beside.is_file() else None))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    make_folder(output.parent)
    write_atomically(output, lambda file: file.write(text.getvalue().encode()))
    print(f"{len(outputs):,} rows answered in {output}: {','.join(columns[:4])}{',..' if len(columns) > 4 else ''}")
    return 0


def probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Of each class (rows, classes): the softmax of logits, or the logistic function of the one logit of yes or no."""
    logits = outputs.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _rows(asked: Unlabelled, path: Path) -> Any:
    """The rows as the network's that result.json beside `path` tells of."""
    was = read_result(path.parent).get("settings", {})
    if not {"classes", "targets"} <= was.keys():
        raise JobError(f"there is no {RESULT} beside {path} that tells what the network answers")
    return asked.dataset(int(was["classes"]), tuple(was["targets"]))


def _judged(found: Trained, outputs: NDArray[Any]) -> Table:
    """The held-out rows, with what is true of them."""
    if not found.dataset.classes:
        return ["row", *found.config.targets], _numbered(range(len(outputs)), numbers(found, outputs))
    classes, chances = found.network.objective.decide(outputs), probabilities(outputs)
    chosen = (f"{chances[row, label]:.6f}" for row, label in enumerate(classes))
    return ["row", "class", "probability", "label"], zip(
        range(len(outputs)), classes.tolist(), chosen, found.dataset.test_y.tolist(), strict=True
    )


def _asked(found: Trained, outputs: NDArray[Any], asked: Unlabelled, lookup: Path | None) -> Table:
    """The rows that Kaggle asks for."""
    if found.dataset.classes:
        labels = found.network.objective.decide(outputs)
        return ["ImageId", "Label"], zip(asked.numbers.tolist(), labels.tolist(), strict=True)
    places = numbers(found, outputs)
    if lookup is None:
        return ["ImageId", *found.config.targets], _numbered(asked.numbers.tolist(), places)
    return submission.COLUMNS, submission.rows(lookup, asked.numbers.tolist(), found.config.targets, places)


def numbers(found: Trained, outputs: NDArray[Any]) -> NDArray[Any]:
    """What a network answers in the unit of the file: pixels for key points."""
    return key_points.to_pixels(outputs) if found.config.targets[0] in key_points.COLUMNS else outputs


def _numbered(names: Iterable[int], values: NDArray[Any]) -> Iterable[Sequence[Any]]:
    return ((name, *(f"{value:.6g}" for value in row)) for name, row in zip(names, values, strict=True))
