"""Kaggle's digit recognizer: train.csv with a header, `label`, then `pixel0`, `pixel1`, .. of 0 to 255.

Source: https://www.kaggle.com/c/digit-recognizer/data. The last 1,000 rows are held out, as the course does; of a
smaller file the last fifth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.dataset import Dataset, check_labels
from jobs.errors import JobError

TEST_ROWS = 1000
BLOCK_BYTES = 8 << 20
BRIGHTEST = 255
ZERO, NINE, COMMA, NEWLINE = b"09,\n"


def read(path: Path) -> Dataset:
    """The digits in `path`; raises `JobError` that names the line and column of what cannot be."""
    try:
        with path.open("rb") as file:
            columns = read_header(file.readline(), path)
            table = _read_rows(file, columns, path)
    except OSError as error:
        raise JobError(f"cannot read {path}: {error.strerror}") from error
    labels, pixels = table[:, 0].astype(np.int64), table[:, 1:]
    check_labels(labels, str(path), first_line=1)
    kept = len(table) - min(TEST_ROWS, len(table) // 5)
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
    raise JobError(f"{path}: missing column(s) {', '.join(missing[:3]) or 'in that order'}: "
                   f"expected label, pixel0, pixel1, ..{hint}")  # fmt: skip


def _read_rows(file: BinaryIO, columns: list[str], path: Path) -> NDArray[np.uint8]:
    blocks, line = [], 2
    for text in _whole_lines(file):
        rows = parse_block(text, len(columns))
        blocks.append(parse_slowly(text, columns, path, line) if rows is None else rows)
        line += text.count(b"\n")
    rows_read = sum(map(len, blocks))
    if rows_read < 5:
        raise JobError(f"{path} has {rows_read} row(s): expected at least 5, to hold some of them out")
    return np.concatenate(blocks)


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """The rest of the file in blocks that end where a line ends, `\\r` dropped."""
    kept = b""
    while text := file.read(BLOCK_BYTES):
        whole, newline, rest = (kept + text).rpartition(b"\n")
        kept = rest
        if newline:
            yield (whole + newline).replace(b"\r", b"")
    if kept:
        yield kept.replace(b"\r", b"") + b"\n"


def parse_block(text: bytes, columns: int) -> NDArray[np.uint8] | None:
    """Rows (rows, columns) of plain numbers of at most three digits; None where the text holds anything else.

    It finds the separators, then adds up the one, two or three digits before each, all cells at once.
    """
    data = np.frombuffer(text, np.uint8)
    is_digit = (data >= ZERO) & (data <= NINE)
    ends = np.flatnonzero(~is_digit)
    widths = np.diff(ends, prepend=-1) - 1
    if len(ends) % columns or widths.min() < 1 or widths.max() > 3:
        return None
    separators = data[ends].reshape(-1, columns)
    if (separators[:, :-1] != COMMA).any() or (separators[:, -1] != NEWLINE).any():
        return None
    values = data[ends - 1].astype(np.uint16) - ZERO
    for place, factor in ((2, 10), (3, 100)):
        wide = widths >= place
        values[wide] += factor * (data[ends[wide] - place].astype(np.uint16) - ZERO)
    return values.astype(np.uint8).reshape(-1, columns) if values.max() <= BRIGHTEST else None


def parse_slowly(text: bytes, columns: list[str], path: Path, line: int) -> NDArray[np.uint8]:
    """The same, cell by cell, for numbers written otherwise (`7.0`, ` 7`); raises `JobError` for what is none."""
    rows = []
    for number, row in enumerate(text.decode("utf-8", "replace").split("\n"), start=line):
        if not row:
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
