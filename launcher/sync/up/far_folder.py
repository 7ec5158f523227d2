"""A folder of the machine, asked over one session of the agent; what it answers is checked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field

from launcher.agent.hashes import LEAF_BYTES
from launcher.errors import TransferError
from launcher.sync.names import told
from launcher.sync.up.difference import There, entries_of
from launcher.sync.up.packing import Range
from launcher.sync.up.reuse import Patch
from launcher.sync.wire.frames import Json, Wire
from launcher.sync.wire.session import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the machine says of a folder before anything is sent."""

    digest: str
    """Of all lines that were pushed, as they are now; empty where nothing was."""
    staged: bool
    """Whether an earlier attempt has left something."""
    zstd: bool
    free_bytes: int
    store: dict[int, list[str]] = field(default_factory=dict)
    """Names of contents that lie on the machine image, by their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What an earlier attempt had brought."""

    rows: dict[str, There] = field(default_factory=dict)
    """Of whole files."""
    parts: dict[str, list[Range]] = field(default_factory=dict)
    """Of each part of a large file the ranges that are verified."""


class FarFolder:
    """Questions about one folder; also `reuse.Machine`."""

    def __init__(self, wire: Wire, remote_dir: str) -> None:
        self.wire = wire
        self.remote_dir = remote_dir

    def ask_state(self) -> None:
        """Ask, so that the machine looks while we do; `state` reads the answer."""
        self.say("state")

    def state(self) -> State:
        """The answer to `ask_state`; raises `RemoteError`."""
        return _state(self.wire.receive_json())

    def entries(self) -> dict[str, There]:
        """All that was pushed; raises `RemoteError`."""
        return entries_of(self._ask("entries").get("entries"))

    def staged(self) -> Staged:
        """What an earlier attempt has left; raises `RemoteError`."""
        return _staged(self._ask("staged"))

    def leaves(self, name: str) -> bytes:
        """Of a whole file; raises `RemoteError`."""
        return _hashes(self._ask("leaves", name=name).get("leaves"))

    def grains(self, name: str, ranges: Sequence[Range]) -> bytes:
        """Of ranges of a file; raises `RemoteError`."""
        return _hashes(self._ask("grains", name=name, ranges=list(ranges)).get("grains"))

    def copies(self, rows: Sequence[Json]) -> set[str]:
        """Have contents copied there; gives the names that did not come out. Raises `RemoteError`."""
        bad = self._ask("copies", items=list(rows)).get("bad")
        if not isinstance(bad, list):
            raise TransferError("the machine does not say what it has copied")
        return {str(name) for name in bad}

    def say_clone(self, patch: Patch) -> None:
        """Have a changed file begun from what is there of it; the answer is an empty object."""
        item = patch.large.item
        self.say(
            "clone",
            name=item.name,
            size=item.size_bytes,
            mtime_ns=item.mtime_ns,
            base=patch.base,
            copies=patch.copies,
        )

    def commit(self) -> None:
        """The answer to a "commit"; raises `TransferError` where the machine has something else than was sent."""
        if self.wire.receive_json().get("committed") is not True:
            self._ask("drop")
            raise TransferError(
                "what came together on the machine is not what was sent; nothing was put in place",
                hint="the same command again sends it anew",
            )

    def say(self, what: str, **request: Json) -> None:
        """Send a request whose answer is read later."""
        self.wire.send_json({"op": what, "root": self.remote_dir, **request})

    def _ask(self, what: str, **request: Json) -> dict[str, Json]:
        return ask(self.wire, op=what, root=self.remote_dir, **request)


def _state(answer: dict[str, Json]) -> State:
    free_bytes, digest = answer.get("free_bytes"), answer.get("digest")
    if type(free_bytes) is not int:
        raise TransferError("the machine does not say how much room it has", hint="gpurun status")
    if not isinstance(digest, str):
        raise TransferError("the machine does not say what lies there", hint="gpurun status")
    store: dict[int, list[str]] = {}
    try:
        for size_bytes, name in answer.get("store") or []:
            store.setdefault(int(size_bytes), []).append(str(name))
    except (TypeError, ValueError, OverflowError) as error:
        raise TransferError(f"the machine says nonsense of its store: {told(repr(error))}") from None
    return State(
        digest=digest,
        staged=bool(answer.get("staged")),
        zstd=bool(answer.get("zstd")),
        free_bytes=free_bytes,
        store=store,
    )


def _staged(answer: dict[str, Json]) -> Staged:
    rows = entries_of(answer.get("rows"))
    try:
        parts = {
            str(key): [(int(first) * LEAF_BYTES, int(count) * LEAF_BYTES) for first, count in runs]
            for key, runs in (answer.get("parts") or {}).items()
        }
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise TransferError(f"the machine says nonsense of what has arrived: {told(repr(error))}") from None
    return Staged(rows=rows, parts=parts)


def _hashes(text: Json) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise TransferError(f"the machine sent hashes that are none: {told(str(error))}") from None
