"""The contents of one attempt, packed piece by piece, and what has become of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES, digest_of, leaf_count
from launcher.agent.place import part_key
from launcher.errors import SpecError, TransferError
from launcher.sync.local.tree import Item
from launcher.sync.names import shown, told
from launcher.sync.up.far_folder import Staged
from launcher.sync.up.packing import (
    LEVELS,
    PIECE_BYTES,
    SMALL_BYTES,
    STORED,
    THREADS,
    Large,
    Parcel,
    Range,
    batches,
    grouped,
    look_again,
    pack_files,
    pack_ranges,
    pack_seal,
    read_ranges,
    read_small,
    shrinks,
)
from launcher.sync.up.progress import Progress
from launcher.sync.up.reuse import Reuse
from launcher.sync.wire.backlog import WAITING_LIMIT, Cancelled
from launcher.sync.wire.lanes import Lanes, Work

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

Make = Callable[[int], Parcel | None]
"""Packs one piece, given zstd's level; nothing where all of it turned out to be there or gone."""
NEAR_LEVEL, FAR_LEVEL = 1, 3
"""zstd's least level: where bytes cost next to nothing, and where they cost time."""


class Contents:
    """What is to be sent; `over` lanes, or one piece after the other as `parcels`."""

    def __init__(
        self,
        root: str,
        reuse: Reuse,
        staged: Staged,
        *,
        zstd: bool,
        progress: Progress,
        spoilt: Collection[str] = (),
    ) -> None:
        """`spoilt`: names of large files of which something else than their content may have been left there."""
        self.digests: dict[str, str] = {}
        """Of the files that are there, by name."""
        self.done: list[Large] = []
        """Large files that are there whole."""
        self.changed: list[str] = []
        """Names of files that changed or vanished while they were read."""
        self.refused: list[str] = []
        """Names of files that did not come together there of what was thought to be there of them."""
        self.began_ns = time.time_ns()
        """When nothing was read yet."""
        self._root = root
        self._zstd = zstd
        self._progress = progress
        self._lock = threading.Lock()
        self._packing = THREADS
        self._put_first: Callable[[Parcel], None] = _nowhere
        self._small = batches([item for item in reuse.send if item.size_bytes <= SMALL_BYTES])
        self._large = [_whole(item) for item in reuse.send if item.size_bytes > SMALL_BYTES]
        self._large += [patch.large for patch in reuse.patches]
        for large in self._large:
            key = part_key(large.item.name, large.item.size_bytes, large.item.mtime_ns)
            large.have = staged.parts.get(key, [])
            large.holes = large.item.name not in spoilt
        self.total_bytes = sum(item.size_bytes for batch in self._small for item in batch)
        self.total_bytes += sum(length for large in self._large for _, length in large.todo)
        brought_bytes = sum(length for large in self._large for _, length in large.have)
        self.need_bytes = sum(item.size_bytes for batch in self._small for item in batch) - brought_bytes
        """Of the machine's disk."""
        self.need_bytes += sum(large.item.size_bytes for large in self._large)

    def parcels(self) -> Iterator[Parcel]:
        """All of them in an order that holds on one connection; raises `SpecError` for a file that cannot be read."""
        try:
            for make in self._works(lambda: False):
                parcel = make(FAR_LEVEL if self._zstd else 0)
                large = make.keywords.get("large") if isinstance(make, partial) else None
                if parcel is not None:
                    yield parcel
                seal = self._seal_after(large) if large is not None and large.item.name not in self.changed else None
                if seal is not None:
                    yield seal
        except OSError as error:
            raise unreadable(error, self._root) from None

    def over(self, lanes: Lanes) -> None:
        """Send all of it; raises `RemoteError`, and `SpecError` for a file that cannot be read."""
        works, guard = self._works(lambda: lanes.cuts > 0), threading.Lock()
        self._put_first = lanes.put_first
        with ThreadPoolExecutor(THREADS, thread_name_prefix="gpurun-pack") as pool:
            for _ in range(THREADS):
                pool.submit(self._pack, works, guard, lanes)
            lanes.run(lambda: self._progress.tell(lanes.connections, lanes.sent_bytes))
        self._progress.sent_bytes += lanes.sent_bytes

    def on_reply(self, work: Work, kind: bytes, payload: Data) -> None:
        """Note what has come over a lane; raises `TransferError` where the machine says that something else did."""
        if not isinstance(work, Parcel):
            raise TypeError(work)
        self.came(work, kind, payload)
        if work.large is not None and not work.seals:
            seal = self._seal_after(work.large)
            if seal is not None:
                self._put_first(seal)

    def came(self, parcel: Parcel, kind: bytes, payload: Data) -> None:
        """Note that a parcel has come; raises `TransferError` where the machine says that something else did."""
        if kind == b"N" and parcel.large is not None and parcel.large.known and parcel.seals:
            self.refused.append(parcel.large.item.name)
            return
        if kind != b"A":
            raise TransferError(f"the machine refused what came: {told(bytes(payload).decode(errors='replace'))}")
        for item, digest in parcel.files:
            self.digests[item.name] = digest
        self._progress.moved(parcel.raw_bytes, files=len(parcel.files) + parcel.seals)
        if parcel.large is not None and parcel.seals:
            self.digests[parcel.large.item.name] = parcel.large.digest.hex()
            self.done.append(parcel.large)

    def _seal_after(self, large: Large) -> Parcel | None:
        """The order to put a file together, after its last piece, unless it has changed since it was looked at."""
        with self._lock:
            large.left -= 1
            if large.left > 0:
                return None
        now = look_again(self._root, large.item)
        if now is None or now[2:4] != large.item[2:4]:
            self._note_changed(large.item.name)
            return None
        return pack_seal(large)

    def _works(self, cut: Callable[[], bool]) -> Iterator[Make]:
        """What is to be packed, piece by piece; after a cut others are likely: a small piece is a small loss."""
        for batch in self._small:
            yield partial(self._files, batch)
        for large in self._large:
            path = f"{self._root}/{large.item.name}"
            try:
                pays = shrinks(path, large.item.size_bytes)
            except OSError:
                if look_again(self._root, large.item) is not None:
                    raise
                self._note_changed(large.item.name)
                continue
            groups = grouped(large.todo, PIECE_BYTES) or [[]]
            large.left = len(groups)
            for group in groups:
                pieces = grouped(group, LEAF_BYTES) if group and cut() else [group]
                with self._lock:
                    large.left += len(pieces) - 1
                for piece in pieces:
                    yield partial(self._ranges, group=piece, path=path, pays=pays, large=large)

    def _files(self, batch: Sequence[Item], level: int) -> Parcel | None:
        """Read and pack small files; those that have changed are told."""
        packed = []
        for item in batch:
            try:
                content = read_small(f"{self._root}/{item.name}", item)
            except OSError:
                if look_again(self._root, item) is not None:
                    raise
                content = None
            if content is None:
                self._note_changed(item.name)
            else:
                packed.append((item, content, digest_of(content)))
        return pack_files(packed, level) if packed else None

    def _ranges(self, level: int, *, group: Sequence[Range], path: str, pays: bool, large: Large) -> Parcel | None:
        """Read and pack ranges of a large file; what an earlier attempt had brought is only hashed."""
        try:
            contents = read_ranges(path, group)
        except OSError:
            if look_again(self._root, large.item) is not None:
                raise
            contents = None
        if contents is None:
            # One piece of it is never answered, so that it is never put together.
            self._note_changed(large.item.name)
            return None
        parcel = pack_ranges(large, group, contents, level if pays else STORED)
        self._progress.reused(sum(length for _, length in group) - parcel.raw_bytes)
        return parcel if parcel.body else None

    def _note_changed(self, name: str) -> None:
        with self._lock:
            if name not in self.changed:
                self.changed.append(name)

    def _pack(self, works: Iterator[Make], guard: threading.Lock, lanes: Lanes) -> None:
        """One thread's share: take a piece, pack it, hand it to the lanes."""
        try:
            while True:
                with guard:
                    make = next(works, None)
                if make is None:
                    return
                self._put(make, lanes)
        except Cancelled:
            return
        except OSError as error:
            lanes.fail(unreadable(error, self._root))
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            lanes.fail(error)
        finally:
            with guard:
                self._packing -= 1
                if not self._packing:
                    lanes.close()

    def _put(self, make: Make, lanes: Lanes) -> None:
        parcel = make(self._level(lanes))
        if parcel is not None:
            lanes.put(parcel)
            return
        large = make.keywords.get("large") if isinstance(make, partial) else None
        if large is not None and large.item.name not in self.changed:
            seal = self._seal_after(large)
            if seal is not None:
                lanes.put(seal)

    def _level(self, lanes: Lanes) -> int:
        """zstd's level now; 0 where the machine has zlib alone."""
        if not self._zstd:
            return 0
        level = LEVELS[min(len(LEVELS) - 1, lanes.waiting * len(LEVELS) // WAITING_LIMIT)]
        return max(level, FAR_LEVEL if lanes.far else NEAR_LEVEL)


def _nowhere(parcel: Parcel) -> None:
    raise AssertionError(parcel)


def unreadable(error: OSError, root: str) -> SpecError:
    """What to say of a local file that cannot be read."""
    path = shown(str(error.filename or root))
    return SpecError(
        f"{path} cannot be read: {error.strerror}", hint=f"chmod u+rX {path}   (or name it in .gpurunignore)"
    )


def _whole(item: Item) -> Large:
    """A large file from its beginning."""
    return Large(item=item, leaves=bytearray(leaf_count(item.size_bytes) * HASH_BYTES), todo=[(0, item.size_bytes)])
