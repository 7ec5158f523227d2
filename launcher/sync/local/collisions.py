"""Names that are two on the machine and one on this disk: told before the first byte."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from launcher.errors import TransferError
from launcher.sync.names import shown

PROBE = "Probe-\u00e9"
"""A capital letter, and one that has a second Unicode form."""

Key = Callable[[str], str]


def name_key(folder: Path) -> Key | None:
    """What names are the same by on the disk of that folder; `None` where only equal names are. Raises `OSError`."""
    probe = folder / PROBE
    try:
        probe.touch()
    except UnicodeEncodeError:
        return None
    try:
        folds = (folder / PROBE.swapcase()).exists()
        composes = (folder / unicodedata.normalize("NFD", PROBE)).exists()
    finally:
        probe.unlink()
    if folds and composes:
        return lambda name: _composed(_composed(name).casefold())
    if folds:
        return str.casefold
    return _composed if composes else None


def check_collisions(names: Iterable[str], key: Key | None, dest: Path, hint: str) -> None:
    """Accept names that stay apart, folders on their way included; raises `TransferError` that tells both."""
    if key is None:
        return
    first: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            other = first.setdefault(key(path), path)
            if other != path:
                raise TransferError(
                    f"{shown(other)} and {shown(path)} are two names on the machine and one on the disk at {dest}; "
                    "nothing was written",
                    hint=hint,
                )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
