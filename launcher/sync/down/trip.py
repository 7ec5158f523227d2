"""What all parts of one download share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES
from launcher.errors import TransferError
from launcher.ports import Lines
from launcher.sync.down.listing import Far
from launcher.sync.down.partials import Partial, Partials
from launcher.sync.down.tally import Tally
from launcher.sync.layout import run_of
from launcher.sync.names import shown

SMALL_BYTES = 1 << 18
"""Files up to this size come whole, many in a parcel; larger ones in pieces, which are recorded."""
RECORD_SHARE = LEAF_BYTES // HASH_BYTES
"""The record of what is verified takes this part of a large file's size."""

SIZE_LIMIT_BYTES = 1 << 44
"""16 TiB: the largest file of ext4 with its usual blocks."""
HOLES_LIMIT_BYTES = 1 << 39
"""Of one file; the record of so much takes 64 MiB, and costs the machine nothing to announce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """From where, to where, and what has come home so far."""

    lines: Lines
    remote_dir: str
    dest: Path
    partials: Partials
    tally: Tally
    tell: Callable[[str], None]
    digests: dict[str, bytes] = field(default_factory=dict)
    """Of the files that are home, by name."""
    now: dict[str, Far] = field(default_factory=dict)
    """The lines of files that came in another state than they were first looked at."""
    lost: set[str] = field(default_factory=set)
    """Names of files that are gone, or cannot be read."""

    def check_room(self, files: Sequence[Far]) -> None:
        """Refuse what cannot fit, holes left out, and sizes beyond reason; raises `TransferError`."""
        for far in files:
            _check_size(far, run_of(self.remote_dir))
        large = [far for far in files if far.size_bytes > SMALL_BYTES]
        there_bytes = sum(Partial(self.partials, far).allocated_bytes for far in large)
        record_bytes = sum(far.size_bytes // RECORD_SHARE for far in large)
        need_bytes = sum(far.data_bytes for far in files)
        if need_bytes + record_bytes - there_bytes > shutil.disk_usage(self.dest).free:
            raise self.no_room(need_bytes)

    def no_room(self, need_bytes: int) -> TransferError:
        """The disk here is too small for that."""
        free_bytes = shutil.disk_usage(self.dest).free
        return TransferError(
            f"the disk at {self.dest} is too small: {need_bytes / 1e6:.1f} MB are to come home, "
            f"{free_bytes / 1e6:.1f} MB are free. Nothing is lost: the results stay on the machine",
            hint=f"gpurun fetch-weights {run_of(self.remote_dir)} --to DIR   (a folder on a larger disk)",
        )


def _check_size(far: Far, run: str) -> None:
    if far.size_bytes > SIZE_LIMIT_BYTES:
        why = f"no file over {SIZE_LIMIT_BYTES >> 40} TiB is fetched"
    elif far.size_bytes - far.data_bytes > HOLES_LIMIT_BYTES:
        why = f"no file with more than {HOLES_LIMIT_BYTES >> 30} GiB of them is fetched"
    else:
        return
    raise TransferError(
        f"the machine says that {shown(far.name)} has {far.size_bytes / 1e9:.0f} GB: {why}",
        hint=f"gpurun ssh {run}   (look at it there, then remove or compress it)",
    )


def batches(files: Sequence[Far], most_files: int, most_bytes: int) -> Iterator[list[Far]]:
    """Runs of them, each within both limits unless one file alone is beyond."""
    batch: list[Far] = []
    batch_bytes = 0
    for far in files:
        if batch and (len(batch) == most_files or batch_bytes + far.size_bytes > most_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(far)
        batch_bytes += far.size_bytes
    if batch:
        yield batch
