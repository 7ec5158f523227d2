"""What the CSVs of FER2013 and of the key points share: a header, and a column that holds a whole picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import pixels
from jobs.errors import JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some rows of a file."""

    lines: list[int]  # the number of each row's line
    cells: list[list[str]]  # of each row, without the picture
    pictures: NDArray[np.uint8]  # (rows, size)


def header(line: bytes) -> list[str]:
    """The names of the columns in a file's first line."""
    return [name.strip().strip('"') for name in line.decode("utf-8-sig", "replace").split(",")]


def read_blocks(file: BinaryIO, path: Path, columns: Sequence[str], picture: str, size: int) -> Iterator[Block]:
    """The rows below the header, some at a time; `picture` is the column of `size` pixels.

    Raises `JobError` for a line with too few or too many columns, and for a picture that is none, by line and column.
    """
    place = columns.index(picture)
    for first_line, read in pixels.blocks(file, first_line=2):
        lines, cells, images = [], [], []
        for line, text in enumerate(read, start=first_line):
            if not text.strip():
                continue
            row = text.rstrip(b"\r\n").split(b",")
            if len(row) != len(columns):
                raise JobError(f"{path}:{line}: {len(row)} columns: expected {len(columns)}")
            lines.append(line)
            images.append(row.pop(place).strip(b' "'))
            cells.append([cell.decode("utf-8", "replace").strip(' "') for cell in row])
        if lines:
            yield Block(lines=lines, cells=cells, pictures=pixels.pictures(images, lines, size, path, picture))
