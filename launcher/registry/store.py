"""What a registry asks of the place where it is kept: the same of a folder and of a bucket."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from launcher.registry.version import Version
from launcher.registry.witness import Witness

MARK = "store.json"
MARK_CONTENT = b'{"format": "gpurun weights 1"}\n'
"""Says what the place is; written before anything else, it also tries out whether exclusive writes are exclusive."""
OBJECTS, TRASH = "objects", "trash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One thing that is kept."""

    key: str
    size_bytes: int
    modified_s: float
    """Seconds since the epoch, by the store's clock."""


class Store(Protocol):
    """Keys are paths with `/`, made of checked names; everything raises `WeightsError` or what AWS answers."""

    @property
    def uri(self) -> str:
        """Where it is, as a user names it."""

    def prepare(self) -> None:
        """Be ready for writes; raises `WeightsError` where an exclusive write is not one."""

    def read(self, key: str) -> bytes | None:
        """A small document; `None` where there is none."""

    def read_many(self, keys: list[str]) -> list[bytes | None]:
        """Several documents."""

    def create(self, key: str, data: bytes) -> bool:
        """Write where nothing lies yet, whole and for good; whether it was ours that did."""

    def keys(self, prefix: str, *, after: str = "") -> list[Held]:
        """All documents whose key begins so, which ends with `/`; only those that come after `after`."""

    def models(self) -> list[str]:
        """The names that have a folder, checked."""

    def keep(self, source: Path, sha256: str, size_bytes: int, *, fresh_s: float) -> None:
        """Have the object, whole, and not older than `fresh_s` where it lay here before."""

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether an object of that size is kept."""

    def open(self, sha256: str) -> AbstractContextManager[BinaryIO] | None:
        """An object's bytes, unverified; `None` where it is not there."""

    def objects(self) -> list[Held]:
        """All objects, by their sha256 as key."""

    def set_aside(self, sha256: str) -> None:
        """Move an object to the trash; none there is fine."""

    def bring_back(self, sha256: str) -> None:
        """Move an object from the trash; none there is fine."""

    def forget(self, sha256: str) -> None:
        """Remove an object from the trash."""

    def trash(self) -> list[Held]:
        """What lies in the trash, by sha256 as key."""

    def pointed(self, name: str) -> int | None:
        """The version that the stable address leads to, `None` where it leads nowhere that can be told."""

    def witness(self, name: str) -> Witness | None:
        """What the stable address says of the log; `None` where there is none, or none that can be read."""

    def point(self, version: Version, crowned: int, entry: str) -> bool:
        """Lead the stable address `<name>/champion` to the version that the log's entry `crowned` made the champion.

        `entry` is that entry's sha256. At once for whoever reads it. `False`: another may have led it elsewhere
        meanwhile, look at the log once more.
        """

    def check_pointed(self, version: Version) -> None:
        """See that what the stable address shows is that version, whole; raises `WeightsError`."""

    def tidy(self, older_than_s: float) -> None:
        """Remove what crashed writers left, and what only former champions' addresses need."""
