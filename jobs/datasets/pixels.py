"""Pixels written out as text: whole numbers of 0 to 255 with a separator between them, read a block at a time.

`table` works on all bytes of a block at once and knows nothing but such numbers: FER2013 takes two thirds of the time
that np.loadtxt takes. Whatever else a block holds, the caller reads slowly, and names what cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from jobs.errors import JobError

BRIGHTEST = 255
BLOCK_BYTES = 1 << 20  # its arrays stay in the processor's cache
NEWLINE, ZERO, NINE = b"\n09"
MOST_DIGITS = 3


def blocks(file: BinaryIO, *, first_line: int) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, whole lines) of the rest of `file`, about `BLOCK_BYTES` at a time."""
    while lines := file.readlines(BLOCK_BYTES):
        yield first_line, lines
        first_line += len(lines)


def table(text: bytes, columns: int, separator: bytes) -> NDArray[np.uint8] | None:
    """The numbers (rows, columns) in `text`; None unless it is plain: digits, `separator`, a newline after each row."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data < ZERO)  # every number ends with what should be a separator
    if not ends.size or ends.size % columns or ends[-1] != data.size - 1 or data.max() > NINE:
        return None
    marks = data[ends].reshape(-1, columns)
    lengths = np.diff(ends, prepend=-1) - 1
    if (marks[:, :-1] != separator[0]).any() or (marks[:, -1] != NEWLINE).any():
        return None
    if lengths.min() < 1 or lengths.max() > MOST_DIGITS:
        return None
    digits = data - ZERO
    values = digits[ends - 1].astype(np.uint16)
    values += np.uint16(10) * digits[ends - 2] * (lengths > 1)  # of a shorter number, a byte before it, times 0
    values += np.uint16(100) * digits[ends - 3] * (lengths > 2)
    return values.astype(np.uint8).reshape(-1, columns) if values.max() <= BRIGHTEST else None


def pictures(cells: Sequence[bytes], lines: Sequence[int], size: int, path: Path, column: str) -> NDArray[np.uint8]:
    """The pictures (cells, size) that `cells` of the lines `lines` hold, numbers with spaces between them.

    Raises `JobError` for the first that is none, naming its line, its column and the number.
    """
    quick = table(b"".join(cell + b"\n" for cell in cells), size, b" ")
    if quick is not None:
        return quick
    rows = [picture(cell, size, f"{path}:{line}: {column}") for cell, line in zip(cells, lines, strict=True)]
    return np.array(rows, np.uint8).reshape(-1, size)


def picture(cell: bytes, size: int, where: str) -> list[int]:
    """The same of one cell, number by number."""
    numbers = cell.decode("utf-8", "replace").split()
    if len(numbers) != size:
        raise JobError(f"{where} has {len(numbers)} pixels: expected {size}")
    return [value(number, f"{where}, pixel {index},") for index, number in enumerate(numbers)]


def value(text: str, where: str) -> int:
    """One pixel; raises `JobError` unless it is a whole number of 0 to 255, however it is written."""
    try:
        number = float(text.strip().strip('"') or "nan")
    except ValueError:
        number = float("nan")
    if not number.is_integer() or not 0 <= number <= BRIGHTEST:
        was = "is missing" if not text.strip() else f"is {text.strip()!r}"
        raise JobError(f"{where} {was}: expected a whole number from 0 to {BRIGHTEST}")
    return int(number)
