"""Checkpoints that are home: whole generations, each verified before the pointer to it is written."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

POINTER = "newest"
KEPT = 2
"""Generations: the newest, and the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """One generation: the job's checkpoint folder and its output folder, taken right after it."""

    number: int
    segment: int
    """Of the machine that it came from."""
    at_epoch_s: float
    """When it was looked at over there."""
    files: int
    size_bytes: int
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """As the job's GPURUN_CHECKPOINT_DIR was."""
        return self.folder / "checkpoint"

    @property
    def output(self) -> Path:
        """As the job's GPURUN_OUTPUT_DIR was, at the checkpoint or a moment after it."""
        return self.folder / "output"


class Shipments:
    """A run's generations at home; one writer at a time.

    Raises `OSError` where the disk does not play along; a generation that broke off is never pointed at.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def newest(self) -> Shipment | None:
        """The last whole generation, if there is one."""
        try:
            told = json.loads((self.home / POINTER).read_text())
        except FileNotFoundError:
            return None
        return Shipment(**told, folder=self._folder(told["number"]))

    def begin(self) -> Path:
        """The folder for the next generation, holding what the last one held: what is the same is not sent again."""
        last = self.newest()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Above any that is there: one that broke off, or that another thread is still about to fill.
        number = max((int(folder.name) for folder in self._folders()), default=0) + 1
        folder = self._folder(number)
        folder.mkdir(mode=0o700)
        for name in ("checkpoint", "output"):
            if last is not None and (last.folder / name).is_dir():
                # A download replaces files and never writes into them: links will do.
                shutil.copytree(last.folder / name, folder / name, symlinks=True, copy_function=os.link)
            else:
                (folder / name).mkdir()
        return folder

    def publish(self, folder: Path, *, segment: int, at_epoch_s: float, files: int, size_bytes: int) -> Shipment:
        """Make a folder that `begin` gave, and that is whole now, the newest generation; gives the newest there is."""
        last = self.newest()
        if last is not None and last.number > int(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            return last
        made = Shipment(
            number=int(folder.name),
            segment=segment,
            at_epoch_s=at_epoch_s,
            files=files,
            size_bytes=size_bytes,
            folder=folder,
        )
        told = {name: value for name, value in asdict(made).items() if name != "folder"}
        pointer, draft = self.home / POINTER, self.home / f"{POINTER}.new"
        with draft.open("w") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(pointer)
        self._prune(made.number)
        return made

    def _folder(self, number: int) -> Path:
        return self.home / f"{number:08d}"

    def _folders(self) -> list[Path]:
        return list(self.home.glob("[0-9]" * 8))

    def _prune(self, newest: int) -> None:
        for folder in self._folders():
            if int(folder.name) <= newest - KEPT:
                shutil.rmtree(folder, ignore_errors=True)
