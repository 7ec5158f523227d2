"""Private keys stay at home: one lies beside the script more often than it is meant to travel."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from launcher.sync.local.tree import Item, Scan

WHY = "a private key never goes up"
KEY_FILE_ENDINGS = (".pem", ".key", ".ppk")
SMALLEST_BYTES, LARGEST_BYTES = 64, 1 << 15
_KEY = re.compile(rb"^(?:-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|PuTTY-User-Key-File-\d)", re.MULTILINE)


def without_private_keys(scan: Scan) -> Scan:
    """The scan less private keys, which are told as skipped; only small files called like one are opened."""
    found = {item.name for item in scan.items if _is_candidate(item) and _holds_key(scan.root / item.name)}
    if not found:
        return scan
    kept = tuple(item for item in scan.items if item.name not in found)
    skipped = sorted((*scan.skipped, *((name, WHY) for name in found)))
    return replace(scan, items=kept, skipped=tuple(skipped))


def _is_candidate(item: Item) -> bool:
    if item.kind != "f" or not SMALLEST_BYTES <= item.size_bytes <= LARGEST_BYTES:
        return False
    base = item.name.rpartition("/")[2]
    return _is_called_so(base) or "." not in base[1:]


def _is_called_so(base: str) -> bool:
    return base.endswith(KEY_FILE_ENDINGS) or base.startswith("id_")


def _holds_key(path: Path) -> bool:
    """Whether a key begins the file, or for one called like a key any line of it: certificates may come first."""
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(LARGEST_BYTES if _is_called_so(path.name) else 128)
    except OSError:
        # What cannot be read cannot go up either, and is told there.
        return False
    return bool(_KEY.search(head) if _is_called_so(path.name) else _KEY.match(head))
