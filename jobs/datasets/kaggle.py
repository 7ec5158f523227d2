"""Kaggle's digit recognizer: train.csv with a header, `label`, then `pixel0`, `pixel1`, .. of 0 to 255.

Source: https://www.kaggle.com/c/digit-recognizer/data. The last 1,000 rows are held out, as the course does; of a
smaller file the last fifth.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import pixels
from jobs.datasets.dataset import Dataset, check_labels, square
from jobs.errors import JobError

TEST_ROWS = 1000
FEWEST_ROWS = 5


def read(path: Path) -> Dataset:
    """The digits in `path`; raises `JobError` that names the line and column of what cannot be."""
    try:
        with path.open("rb") as file:
            columns = read_header(file.readline(), path)
        table = read_rows(path, columns)
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    if len(table) < FEWEST_ROWS:
        raise JobError(f"{path} has {len(table)} row(s): expected at least {FEWEST_ROWS}, to hold some of them out")
    labels, x = table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:])
    check_labels(labels, str(path), first_line=1)
    kept = len(table) - min(TEST_ROWS, len(table) // FEWEST_ROWS)
    return Dataset(
        name="Kaggle's digits",
        train_x=x[:kept],
        train_y=labels[:kept],
        test_x=x[kept:],
        test_y=labels[kept:],
        scale=1 / pixels.BRIGHTEST,
        image_shape=square(x.shape[1]),
    )


def read_header(line: bytes, path: Path) -> list[str]:
    """The names of the columns; raises `JobError` unless they are label, pixel0, pixel1, .."""
    columns = [name.strip().strip('"') for name in line.decode("utf-8-sig", "replace").split(",")]
    expected = ["label", *(f"pixel{number}" for number in range(max(1, len(columns) - 1)))]
    if columns == expected:
        return columns
    missing = [name for name in expected if name not in columns]
    hint = "; Kaggle's test.csv has no labels, its train.csv has" if missing[:1] == ["label"] else ""
    named = ", ".join(missing[:3]) or "in that order"
    raise JobError(f"{path}: missing column(s) {named}: expected label, pixel0, pixel1, ..{hint}")


def read_rows(path: Path, columns: Sequence[str]) -> NDArray[np.uint8]:
    """The numbers below the header (rows, columns); raises `JobError` for the first cell that is none of 0..255."""
    tables = [np.empty((0, len(columns)), np.uint8)]
    with path.open("rb") as file:
        file.readline()
        for first_line, lines in pixels.blocks(file, first_line=2):
            text = b"".join(lines).replace(b"\r\n", b"\n")
            quick = pixels.table(text if text.endswith(b"\n") else text + b"\n", len(columns), b",")
            tables.append(rows_one_by_one(lines, columns, path, first_line) if quick is None else quick)
    return np.concatenate(tables)


def rows_one_by_one(lines: Sequence[bytes], columns: Sequence[str], path: Path, first_line: int) -> NDArray[np.uint8]:
    """The same of a few lines: for numbers written otherwise (`7.0`, `"7"`), and to name what is no number."""
    rows = []
    for number, line in enumerate(lines, start=first_line):
        row = line.decode("utf-8", "replace").rstrip("\r\n")
        if not row.strip():
            continue
        cells = row.split(",")
        if len(cells) != len(columns):
            raise JobError(f"{path}:{number}: {len(cells)} columns: expected {len(columns)}")
        rows.append([pixels.value(cell, f"{path}:{number}: {name}") for cell, name in zip(cells, columns, strict=True)])
    return np.array(rows, np.uint8).reshape(-1, len(columns))
