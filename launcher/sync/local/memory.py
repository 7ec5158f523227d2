"""What the laptop remembers: what each machine's folders hold, and the leaves of large files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from launcher.agent.hashes import digest_of_leaves
from launcher.sync.local.tree import Item

COLUMNS = 7
"""Of a line of what was pushed: an `Item`'s first six and the digest."""
RACY_NS = 2_000_000_000
"""So long after a change another may leave the time as it is: clocks of file systems tick in up to two seconds."""
KEPT_S = 30 * 86400.0
"""What was not used for so long is forgotten."""


class Memory:
    """A folder of the laptop; with none it remembers nothing. What it loses costs time and never truth."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def pushed(self, where: str) -> tuple[str, list[Any]] | None:
        """The digest of what was last pushed to `where`, and its lines."""
        found = self._read_json(f"pushed-{_key(where)}.json")
        if not isinstance(found, dict):
            return None
        digest, entries = found.get("digest"), found.get("entries")
        if not isinstance(digest, str) or not isinstance(entries, list):
            return None
        whole = all(isinstance(line, list) and len(line) == COLUMNS for line in entries)
        return (digest, entries) if whole else None

    def keep_pushed(self, where: str, digest: str, entries: list[Any]) -> None:
        """Remember what lies at `where`."""
        self._write(f"pushed-{_key(where)}.json", json.dumps({"digest": digest, "entries": entries}).encode())

    def digest(self, path: str, item: Item) -> str:
        """The digest that a large file had when it was last read, if nothing has touched it since; else empty."""
        stamp = _stamp(path, item)
        found = self._read_json(f"file-{_key(repr(item.inode))}.json") if stamp else None
        return str(found["digest"]) if isinstance(found, dict) and found.get("stamp") == stamp else ""

    def keep_digest(self, path: str, item: Item, digest: str, read_ns: int) -> None:
        """Remember a large file's digest, unless it was so new that it may have changed without another time.

        `read_ns` is when its reading began, as `time.time_ns()` has it.
        """
        stamp = _stamp(path, item)
        if stamp and read_ns - item.mtime_ns > RACY_NS:
            line = {"stamp": stamp, "digest": digest}
            self._write(f"file-{_key(repr(item.inode))}.json", json.dumps(line).encode())

    def forget_digest(self, item: Item) -> None:
        """What was remembered of a large file is doubtful."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / f"file-{_key(repr(item.inode))}.json").unlink()

    def leaves(self, size_bytes: int, digest: str) -> bytes:
        """The leaves of a content, if they are remembered; else empty."""
        if self._folder is None:
            return b""
        try:
            leaves = (self._folder / f"leaves-{size_bytes}-{digest}").read_bytes()
        except OSError:
            return b""
        return leaves if digest_of_leaves(leaves).hex() == digest else b""

    def keep_leaves(self, size_bytes: int, digest: str, leaves: bytes) -> None:
        """Remember a content's leaves."""
        self._write(f"leaves-{size_bytes}-{digest}", leaves)

    def forget_old(self) -> None:
        """Remove what was not used for a month."""
        if self._folder is None or not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_S:
                    path.unlink()

    def _read_json(self, name: str) -> Any:
        if self._folder is None:
            return None
        try:
            return json.loads((self._folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def _write(self, name: str, content: bytes) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, partial = tempfile.mkstemp(dir=self._folder, prefix=".part-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(partial).replace(self._folder / name)


def _stamp(path: str, item: Item) -> list[int]:
    """What tells that a file is as it was; empty where it is not as `item` says any more, or nothing can tell.

    With the time of the last change of its inode: a time of modification can be set back, and an inode's number is
    given to the next file.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return []
    if item.inode is None or (found.st_size, found.st_mtime_ns) != (item.size_bytes, item.mtime_ns):
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
