"""The names of this machine's objects in the store: which content lies under which, and which may be used again.

A machine can only write there, not delete. So that days of checkpoints do not pile up, an object that no recent
generation needs is written over. What is about to be written is noted before it is, so that a shipper that was killed
never writes over what a generation needs that it had just finished.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time

from .files import read_json, write_atomically
from .shiplog import NOTHING
from .wire import Json

HELD_S = 300.0
"""How long an object outlives the last generation that needs it: somebody may be reading that."""
SAVE_EVERY_S = 1.0


class Objects:
    """The record, kept in a file; from any thread. `known` tells where a content lies, by its sha256."""

    def __init__(self, path: str) -> None:
        self.path = path
        found: Json = None
        with contextlib.suppress(ValueError):
            found = read_json(path)
        found = found or {}
        self.number: int = found.get("number", 0)
        """Of the generation that was begun last."""
        self.live: dict[str, str] = found.get("live", {})
        """What the last whole generation needs."""
        self.pending: dict[str, str] = found.get("pending", {})
        """What was sent since."""
        self.claimed: set[str] = set(found.get("claimed", []))
        """Names that may have been written to since."""
        self.retired: list[Json] = found.get("retired", [])
        """[when, at which generation, name], the oldest first."""
        self.log: Json = found.get("log", NOTHING)
        self.results: dict[str, str] = found.get("results", {})
        self.shipped: Json = found.get("shipped")
        # Names of a life of its own: whatever became of the record, a new one is new.
        self.life = secrets.token_hex(4)
        self.made = 0
        self.lock = threading.Lock()
        self.saved = 0.0
        self.durable = True
        """Whether the record is on the disk: a name is used again only then."""

    def known(self, sha256: str) -> str | None:
        """Under which name that content lies, if it does."""
        return self.pending.get(sha256) or self.live.get(sha256)

    def claim(self, segment: int, count: int) -> list[str]:
        """Names to write to, noted as such; where that cannot be noted none is used again.

        The record on the disk would go on calling it free, also once a generation needs it.
        """
        with self.lock:
            retired, claimed = list(self.retired), set(self.claimed)
            names = [self.free() or self.fresh(segment) for _ in range(count)]
            self.claimed.update(names)
            self.save()
            if not self.durable and self.retired != retired:
                self.retired = retired
                names = [self.fresh(segment) for _ in range(count)]
                self.claimed = claimed | set(names)
        return names

    def free(self) -> str | None:
        """A name whose content nobody needs any more."""
        if self.retired and self.durable:
            at, number, name = self.retired[0]
            if time.time() - at > HELD_S and self.number > number + 1:
                del self.retired[0]
                return str(name)
        return None

    def fresh(self, segment: int) -> str:
        """A name that was never used."""
        self.made += 1
        return f"objects/{segment:04d}-{self.life}-{self.made:06d}"

    def sent(self, sha256: str, name: str) -> None:
        """Note that a content is there, so that it is not sent again."""
        with self.lock:
            self.pending[sha256] = name
            if time.monotonic() - self.saved > SAVE_EVERY_S:
                self.save()

    def begin(self) -> int:
        """The number of a generation that is about to be written."""
        with self.lock:
            self.number += 1
            self.save()
        return self.number

    def commit(self, needed: set[str], shipped: Json) -> None:
        """A generation is whole that needs these contents, and nothing else."""
        with self.lock:
            before = {**self.live, **self.pending}
            self.live = {sha256: before[sha256] for sha256 in sorted(needed)}
            kept = set(self.live.values())
            now = time.time()
            gone = sorted((set(before.values()) | self.claimed) - kept)
            self.retired += [[now, self.number, name] for name in gone]
            self.pending, self.claimed, self.shipped = {}, set(), shipped
            self.save()

    def save(self) -> None:
        """Write the record down. On a disk that is full it lives on in memory."""
        self.saved = time.monotonic()
        record = {
            "number": self.number,
            "live": self.live,
            "pending": self.pending,
            "claimed": sorted(self.claimed),
            "retired": self.retired,
            "log": self.log,
            "results": self.results,
            "shipped": self.shipped,
        }
        try:
            write_atomically(self.path, json.dumps(record))
            self.durable = True
        except OSError:
            self.durable = False
