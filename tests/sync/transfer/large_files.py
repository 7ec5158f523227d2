"""Files that are too large to hold in memory at once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

MIB = 1 << 20


def fill(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(os.urandom(MIB))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
