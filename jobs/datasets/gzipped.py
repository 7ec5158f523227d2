"""Files that may be gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from jobs.errors import JobError

MAGIC = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """What `path` holds, unpacked where it is gzipped; raises `JobError` where it cannot be read."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(MAGIC) else data
    except (OSError, EOFError, zlib.error) as error:
        raise JobError(f"cannot read {path}: {error}") from error
