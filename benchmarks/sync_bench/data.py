"""What is carried: data sets made from seeds, and the edits made to them. The same bytes on every machine."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

MIB = 1 << 20
PIXELS = 28
EXTENT_BYTES = 64 << 10
PAGE_BYTES = 4 << 10
TENSORS = 40
"""Of a checkpoint, all of one size."""

Edit = Callable[[Path, random.Random], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of each."""

    big_bytes: int = 1 << 30
    csv_bytes: int = 110_000_000
    files: int = 10_000
    loss_bytes: int = 32 * MIB


QUICK = Sizes(big_bytes=96 * MIB, csv_bytes=11_000_000, files=1_000, loss_bytes=4 * MIB)


class Data:
    """The data sets, each made when it is first asked for."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._folder = folder
        self.sizes = sizes

    @cached_property
    def big(self) -> Path:
        """A folder with one incompressible file."""
        return self._with_noise("big", self.sizes.big_bytes)

    @cached_property
    def delta(self) -> Path:
        """The same once more, to be edited."""
        return self._with_noise("delta", self.sizes.big_bytes)

    @cached_property
    def loss(self) -> Path:
        """A folder with a smaller incompressible file: at 1 % loss a single TCP connection is slow."""
        return self._with_noise("loss", self.sizes.loss_bytes)

    @cached_property
    def csv(self) -> Path:
        """A folder with one CSV file of pixels, as the MNIST set is handed around."""
        folder = self._new("csv")
        with (folder / "train.csv").open("w") as file:
            file.write(",".join(["label", *(f"pixel{number}" for number in range(PIXELS**2))]) + "\n")
            for row in _pixel_rows(np.random.default_rng(2)):
                file.write(row)
                if file.tell() >= self.sizes.csv_bytes:
                    break
        return folder

    @cached_property
    def tree(self) -> Path:
        """A folder of small text files that look like source code, 20 to a folder."""
        folder = self._new("tree")
        make_source_tree(folder, self.sizes.files)
        return folder

    def _with_noise(self, name: str, size_bytes: int) -> Path:
        folder = self._new(name)
        noise = np.random.default_rng(1)
        with (folder / "weights.bin").open("wb") as file:
            for start in range(0, size_bytes, MIB):
                file.write(noise.bytes(min(MIB, size_bytes - start)))
        return folder

    def _new(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True)
        return folder


def _pixel_rows(chance: np.random.Generator) -> Iterator[str]:
    """Lines of a label and 784 grey values, most of them 0: strokes, shifted and with noise on them."""
    texts = [str(value) for value in range(256)]
    drawings = [_drawing(chance) for _ in range(500)]
    while True:
        drawing = drawings[chance.integers(len(drawings))]
        shifted = np.roll(drawing, chance.integers(-3, 4, size=2), (0, 1)).ravel()
        inked = shifted > 0
        shifted[inked] = np.clip(shifted[inked] + chance.integers(-12, 13, inked.sum()), 1, 255)
        yield f"{chance.integers(10)}," + ",".join([texts[value] for value in shifted.tolist()]) + "\n"


def _drawing(chance: np.random.Generator) -> np.ndarray:
    """A few strokes through random points, as a pen with a soft tip leaves them."""
    rows, columns = np.mgrid[0:PIXELS, 0:PIXELS]
    points = chance.uniform(6, 22, (chance.integers(4, 7), 2))
    steps = np.linspace(0, 1, 8)[:, None]
    path = np.concatenate([start + (end - start) * steps for start, end in pairwise(points)])
    distances = (rows[..., None] - path[:, 0]) ** 2 + (columns[..., None] - path[:, 1]) ** 2
    ink = 300 * np.exp(-distances.min(axis=-1) / 1.7)
    return np.where(ink < 25, 0, np.minimum(ink, 255)).astype(np.int64)


def make_source_tree(folder: Path, count: int) -> None:
    """Text files of 0.2 to 60 KB, 3.5 KB on average, 20 to a folder, that compress about as source code does."""
    chance = np.random.default_rng(3)
    words = _words(chance, 6_000)
    ranks = 1 / np.arange(2, len(words) + 2) ** 0.9
    sizes = np.clip(chance.lognormal(7.7, 0.95, count), 200, 60_000).astype(int)
    for number, size in enumerate(sizes.tolist()):
        home = folder / f"package{number // 500:02d}" / f"module{number // 20 % 25:02d}"
        home.mkdir(parents=True, exist_ok=True)
        picks = chance.choice(len(words), size // 5 + 12, p=ranks / ranks.sum()).tolist()
        kinds = chance.integers(len(STATEMENTS), size=len(picks)).tolist()
        text = _source([words[pick] for pick in picks], kinds, size)
        (home / f"part{number:05d}.py").write_text(text)


STATEMENTS = (
    "    {0} = self.{1}({2}, {3})\n",
    "    if {0} is not None and {1} > {2}.{3}:\n        return {2}\n",
    "    for {0} in {1}.{2}():\n        {3}.append({0})\n",
    '    raise ValueError(f"{0} of {{{1}}} is not {2} {3}")\n',
    "\n\ndef {0}({1}, {2}=None):\n    # {3} {1} {0}\n",
    "    {0}[{1}] = {2} + {3} * 2\n",
    "    return {0}({1}={2}, {3}=True)\n",
    "\n\nclass {0}({1}):\n    {2}: int = 0\n    {3}: str\n",
)


def _source(words: list[str], kinds: list[int], size: int) -> str:
    parts, length = [], 0
    for start in range(0, len(words) - 4, 4):
        parts.append(STATEMENTS[kinds[start]].format(*words[start : start + 4]))
        length += len(parts[-1])
        if length >= size:
            break
    return "".join(parts)[:size]


def _words(chance: np.random.Generator, count: int) -> list[str]:
    syllables = [a + b for a in "bcdfghklmnprstv" for b in ("a", "e", "i", "o", "u", "er", "an", "in", "or", "at")]
    return [
        "_".join(
            "".join(syllables[pick] for pick in chance.integers(len(syllables), size=chance.integers(1, 4)))
            for _ in range(chance.integers(1, 3))
        )
        for _ in range(count)
    ]


def edit_extents(folder: Path, chance: random.Random) -> None:
    """1 % of the bytes, in place, in pieces of 64 KiB anywhere."""
    _overwrite(folder / "weights.bin", EXTENT_BYTES, 1, chance)


def edit_pages(folder: Path, chance: random.Random) -> None:
    """1 % of the bytes, in place, in scattered pages of 4 KiB."""
    _overwrite(folder / "weights.bin", PAGE_BYTES, PAGE_BYTES, chance)


def edit_append(folder: Path, chance: random.Random) -> None:
    """5 % more at the end."""
    path = folder / "weights.bin"
    added_bytes = path.stat().st_size // 20
    with path.open("ab") as file:
        for _ in range(added_bytes // MIB):
            file.write(chance.randbytes(MIB))


def edit_checkpoint(folder: Path, chance: random.Random) -> None:
    """The file written anew, as a checkpoint is, with other values in 2 of its 40 tensors."""
    path, fresh = folder / "weights.bin", folder / "fresh"
    tensor_bytes = path.stat().st_size // TENSORS
    changed = set(chance.sample(range(TENSORS), TENSORS // 20))
    with path.open("rb") as old, fresh.open("wb") as new:
        for number in range(TENSORS + 1):
            block = old.read(tensor_bytes)
            new.write(chance.randbytes(len(block)) if number in changed else block)
    fresh.replace(path)


def edit_nothing(folder: Path, chance: random.Random) -> None:
    """Nothing at all."""
    del folder, chance


def edit_files(folder: Path, chance: random.Random) -> None:
    """1 % of the files, each in one place."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in chance.sample(names, len(names) // 100):
        content = bytearray(path.read_bytes())
        start = chance.randrange(len(content) - 100)
        content[start : start + 80] = chance.randbytes(40).hex().encode()
        path.write_bytes(content)


def _overwrite(path: Path, piece_bytes: int, step_bytes: int, chance: random.Random) -> None:
    count = path.stat().st_size // 100 // piece_bytes
    places = (path.stat().st_size - piece_bytes) // step_bytes
    with path.open("r+b") as file:
        for _ in range(count):
            file.seek(chance.randrange(places) * step_bytes)
            file.write(chance.randbytes(piece_bytes))
    os.utime(path)
