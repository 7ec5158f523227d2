"""Kaggle's digit recognizer: train.csv with a header, `label`, then `pixel0`, `pixel1`, .. of 0 to 255.

Source: https://www.kaggle.com/c/digit-recognizer/data. The last 1,000 rows are held out, as the course does; of a
smaller file the last fifth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.dataset import Dataset, check_labels
from jobs.errors import JobError

TEST_ROWS = 1000
FEWEST_ROWS = 5
BRIGHTEST = 255


def read(path: Path) -> Dataset:
    """The digits in `path`; raises `JobError` that names the line and column of what cannot be."""
    try:
        with path.open("rb") as file:
            columns = read_header(file.readline(), path)
            empty = not file.readline().strip()
        table = np.empty((0, len(columns)), np.uint8) if empty else read_rows(path, columns)
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    if len(table) < FEWEST_ROWS:
        raise JobError(f"{path} has {len(table)} row(s): expected at least {FEWEST_ROWS}, to hold some of them out")
    labels, pixels = table[:, 0].astype(np.int64), table[:, 1:]
    check_labels(labels, str(path), first_line=1)
    kept = len(table) - min(TEST_ROWS, len(table) // FEWEST_ROWS)
    return Dataset(
        name=f"Kaggle's digits from {path}",
        train_x=pixels[:kept],
        train_y=labels[:kept],
        test_x=pixels[kept:],
        test_y=labels[kept:],
        scale=1 / BRIGHTEST,
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


def read_rows(path: Path, columns: list[str]) -> NDArray[np.uint8]:
    """The numbers below the header (rows, columns); raises `JobError` for the first cell that is none of 0..255."""
    try:
        table = np.loadtxt(path, np.uint8, delimiter=",", comments=None, skiprows=1, ndmin=2)
    except ValueError:
        return read_rows_slowly(path, columns)
    return table if table.shape[1] == len(columns) else read_rows_slowly(path, columns)


def read_rows_slowly(path: Path, columns: list[str]) -> NDArray[np.uint8]:
    """The same, cell by cell: for numbers written otherwise (`7.0`, `"7"`), and to name what is no number."""
    rows = []
    for number, row in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[1:], start=2):
        if not row.strip():
            continue
        cells = row.split(",")
        if len(cells) != len(columns):
            raise JobError(f"{path}:{number}: {len(cells)} columns: expected {len(columns)}")
        rows.append([_value(*cell, path, number) for cell in zip(cells, columns, strict=True)])
    return np.array(rows, np.uint8).reshape(-1, len(columns))


def _value(text: str, column: str, path: Path, line: int) -> int:
    try:
        value = float(text.strip().strip('"') or "nan")
    except ValueError:
        value = float("nan")
    if not value.is_integer() or not 0 <= value <= BRIGHTEST:
        was = "is missing" if not text.strip() else f"is {text.strip()!r}"
        raise JobError(f"{path}:{line}: {column} {was}: expected a whole number from 0 to {BRIGHTEST}")
    return int(value)
