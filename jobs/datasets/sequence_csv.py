"""A user's own sequences as a CSV: a line for each step, `sequence,label`, then a column for each feature.

Lines of one sequence follow each other, have the same `sequence` (any text) and the same `label` (0, 1, ..). Every
fifth sequence is held out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.dataset import Dataset
from jobs.datasets.picture_csv import header
from jobs.datasets.sequences import PADDING
from jobs.errors import JobError

LEADING = ["sequence", "label"]
HELD_OUT = 5
"""One sequence of so many."""


def read(path: Path) -> Dataset:
    """The sequences in `path`, padded to the longest; raises `JobError` by line and column of what cannot be."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    columns = header(lines[0].encode())
    if columns[:2] != LEADING or len(columns) < 3:
        raise JobError(f"{path}: expected the columns sequence,label and one for each feature, not {lines[0][:60]!r}")
    steps = [_step(line, columns, f"{path}:{number}") for number, line in enumerate(lines[1:], start=2) if line.strip()]
    return _dataset([list(group) for _, group in groupby(steps, key=lambda step: step[0])], len(columns) - 2, path)


Step = tuple[str, int, list[float], str]
"""(sequence, label, features, where it stands)."""


def _dataset(sequences: Sequence[Sequence[Step]], features: int, path: Path) -> Dataset:
    if len(sequences) < HELD_OUT:
        found = f"{len(sequences)} sequence(s)"
        raise JobError(f"{path} has {found}: expected at least {HELD_OUT}, to hold some of them out")
    seen: set[str] = set()
    x = np.full((len(sequences), max(map(len, sequences)), features), PADDING, np.float32)
    for row, sequence in enumerate(sequences):
        name, label, _, where = sequence[0]
        if name in seen:
            raise JobError(f"{where}: sequence {name!r} was there before: expected its lines to follow each other")
        for _, other, _, line in sequence:
            if other != label:
                raise JobError(f"{line}: label is {other}: expected {label}, as the sequence's first line has it")
        seen.add(name)
        x[row, : len(sequence)] = [step[2] for step in sequence]
    y = np.array([sequence[0][1] for sequence in sequences], np.int64)
    return _split(x, y)


def _split(x: NDArray[np.float32], y: NDArray[np.int64]) -> Dataset:
    held_out = np.arange(len(y)) % HELD_OUT == HELD_OUT - 1
    return Dataset(
        name="sequences",
        train_x=x[~held_out],
        train_y=y[~held_out],
        test_x=x[held_out],
        test_y=y[held_out],
        scale=1.0,
        classes=int(y.max()) + 1,
    )


def _step(line: str, columns: Sequence[str], where: str) -> Step:
    cells = [cell.strip(' "\r') for cell in line.split(",")]
    if len(cells) != len(columns):
        raise JobError(f"{where}: {len(cells)} columns: expected {len(columns)}")
    if not cells[1].isdecimal():
        raise JobError(f"{where}: label is {cells[1]!r}: expected 0, 1, ..")
    features = [_number(cell, f"{where}: {name}") for cell, name in zip(cells[2:], columns[2:], strict=True)]
    return cells[0], int(cells[1]), features, where


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise JobError(f"{where} is {text!r}: expected a finite number")
    return number
