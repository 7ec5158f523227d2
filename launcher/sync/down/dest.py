"""The folder here that files come home into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.errors import TransferError

Keep = Callable[[str], bool] | None
"""Which files are wanted, by name, or everything."""


@contextmanager
def writable(dest: Path) -> Iterator[None]:
    """Have the folder for as long as it is written to; raises `TransferError` for whatever the disk refuses."""
    try:
        dest.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise TransferError(
            f"{error.filename or dest} cannot be written: {error.strerror}",
            hint="gpurun fetch-weights RUN --to DIR   (a folder that you may write to)",
        ) from None
