"""Files up: what the machine lacks goes over several lines, verified there before any of it is put in place."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from launcher.agent.hashes import HASH_BYTES, LEAF_BYTES, digest_of, leaf_count
from launcher.agent.intake import part_key
from launcher.agent.record import line_of, state_digest
from launcher.domain import TransferProgress
from launcher.errors import SpecError, TransferError
from launcher.ports import Lines
from launcher.sync.difference import DIGEST, KIND, Difference, There, difference, entries_of
from launcher.sync.frames import Json, Wire
from launcher.sync.lanes import WAITING_LIMIT, Cancelled, Lanes, Work
from launcher.sync.memory import Memory
from launcher.sync.names import shown, told
from launcher.sync.packing import (
    LEVELS,
    PIECE_BYTES,
    SHRINKING_PIECE_BYTES,
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
from launcher.sync.reuse import Reuse, Source, decode_hashes, find_reuse
from launcher.sync.session import ask, session
from launcher.sync.tree import Item, Scan

ATTEMPTS = 3
CONTROL_TIMEOUT_S = 60.0
SPARE_BYTES = 16 << 20
"""Free disk that an upload leaves on the machine."""

Report = Callable[[TransferProgress], None]
Store = dict[int, list[str]]
"""Names of contents that lie on the machine image, by their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """What an upload did."""

    files: int
    """Whose content was sent."""
    size_bytes: int
    """Of those files."""
    sent_bytes: int
    """That went over the line."""
    reused_bytes: int
    """Of contents that the machine had already: unchanged parts, copies, what an earlier attempt had brought."""
    seconds: float
    changed: tuple[str, ...] = ()
    """Names that changed while they were read, and were sent again as they are now."""


def push(
    lines: Lines, scan: Scan, remote_dir: str, report: Report, label: str, *, memory: Memory | None = None
) -> Transferred:
    """Make `remote_dir` hold what was scanned, and remove what an earlier push had put there and is gone.

    What the machine's job wrote there itself is left alone, and nothing of the update is seen before all of it is.
    Raises `TransferError` when the disk there is too small, when a file will not hold still, or when the job is running
    in that folder; `RemoteError` on a machine that cannot be reached: another push goes on from what had arrived.
    """
    began = time.monotonic()
    upload = _Upload(lines, scan, remote_dir, _Progress(report, label), memory or Memory(None))
    upload.run()
    upload.progress.tell()
    return Transferred(
        files=upload.progress.files,
        size_bytes=upload.progress.size_bytes,
        sent_bytes=upload.progress.sent_bytes,
        reused_bytes=upload.progress.reused_bytes,
        seconds=time.monotonic() - began,
        changed=tuple(dict.fromkeys(upload.changed)),
    )


class _Upload:
    """One push."""

    def __init__(self, lines: Lines, scan: Scan, remote_dir: str, progress: _Progress, memory: Memory) -> None:
        self.changed: list[str] = []
        self.progress = progress
        self._lines = lines
        self._root = os.fspath(scan.root)
        self._items = {item.name: item for item in scan.items}
        self._remote_dir = remote_dir
        self._memory = memory
        self._digests: dict[str, str] = {}
        self._meta: list[Item] = []
        self._zstd = False

    def run(self) -> None:
        """All of it."""
        with session(self._lines.control.fresh(CONTROL_TIMEOUT_S)) as wire:
            wire.send_json({"op": "state", "root": self._remote_dir})
            mine = state_digest(map(line_of, self._items.values()))
            state = wire.receive_json()
            self._zstd = bool(state.get("zstd"))
            if state.get("digest") == mine and self._items:
                self.progress.begin(self._items.values(), [])
                return
            there = self._entries(wire, state)
            todo = difference(list(self._items.values()), there)
            staged = _staged(ask(wire, op="staged", root=self._remote_dir)) if state.get("staged") else _Staged()
        self._digests = {name: line[DIGEST] for name, line in there.items() if line[KIND] == "f"}
        self._check_room(todo, state)
        self.progress.begin(self._items.values(), todo.files)
        self._send_all(todo, there, staged, _store(state))
        self._commit(todo, resumed=bool(state.get("staged")))

    def _entries(self, wire: Wire, state: Json) -> dict[str, There]:
        """What lies there: remembered, where the digests say that it is still so."""
        digest = state.get("digest")
        if not digest:
            return {}
        remembered = self._memory.pushed(self._where)
        if remembered and remembered[0] == digest:
            return {line[0]: line for line in remembered[1]}
        return entries_of(ask(wire, op="entries", root=self._remote_dir).get("entries"))

    @property
    def _where(self) -> str:
        return self._remote_dir

    def _check_room(self, todo: Difference, state: Json) -> None:
        free_bytes = state.get("free_bytes")
        if type(free_bytes) is not int:
            raise TransferError("the machine does not say how much room it has", hint="gpurun status")
        if todo.size_bytes + SPARE_BYTES > free_bytes:
            raise TransferError(
                f"the machine's disk is too small: {todo.size_bytes / 1e6:.0f} MB are to go up, "
                f"{free_bytes / 1e6:.0f} MB are free",
                hint="ask for more with resources.disk in the spec, or leave files out with .gpurunignore",
            )

    def _send_all(
        self, todo: Difference, there: dict[str, There], staged: _Staged, store: dict[int, list[str]]
    ) -> None:
        """Contents, until none is missing; what changed under our hands once more, as it is then."""
        files: Sequence[Item] = self._less_staged(todo.files, staged)
        for _ in range(ATTEMPTS):
            reuse = self._reuse(files, there, store)
            self._apply(reuse)
            failed = self._stream(reuse, staged) if reuse.send or reuse.patches else []
            failed += self._copy(reuse)
            if not failed:
                return
            files = [item for name in dict.fromkeys(failed) if (item := self._fresh(name)) is not None]
        raise TransferError(
            f"{shown(self.changed[-1] if self.changed else failed[0])} changes while it is read; "
            "nothing of this upload was put in place",
            hint="wait until nothing writes to it, or name it in .gpurunignore",
        )

    def _reuse(self, files: Sequence[Item], there: dict[str, There], store: Store) -> Reuse:
        try:
            return find_reuse(self._root, files, there, store, self._memory, _Hashes(self._lines, self._remote_dir))
        except OSError as error:
            raise unreadable(error, self._root) from None

    def _less_staged(self, files: Sequence[Item], staged: _Staged) -> list[Item]:
        """Those that an earlier attempt had not brought whole."""
        missing = []
        for item in files:
            row = staged.rows.get(item.name)
            if row and row[:5] == [*item[:5]]:
                self._digests[item.name] = row[DIGEST]
                self.progress.reused(item.size_bytes, files=1)
            else:
                missing.append(item)
        return missing

    def _apply(self, reuse: Reuse) -> None:
        """Note what needs no content."""
        for item, digest in reuse.same:
            self._digests[item.name] = digest
            self._meta.append(item)
            self.progress.reused(item.size_bytes, files=1)

    def _stream(self, reuse: Reuse, staged: _Staged) -> list[str]:
        """Send contents over lanes; gives the names of files that changed meanwhile."""
        self._clone(reuse)
        stream = _Stream(self._root, reuse, staged, zstd=self._zstd, progress=self.progress)
        lanes = Lanes(
            self._lines,
            request={"op": "take", "root": self._remote_dir},
            on_reply=stream.on_reply,
            total_bytes=stream.total_bytes,
        )
        stream.run(lanes)
        self._digests.update(stream.digests)
        for large in stream.done:
            self._memory.keep_digest(large.item, large.digest.hex())
            self._memory.keep_leaves(large.item.size_bytes, large.digest.hex(), bytes(large.leaves))
        self.changed += stream.changed
        return stream.changed

    def _clone(self, reuse: Reuse) -> None:
        """Have the machine begin changed files from what it has of them."""
        if not reuse.patches:
            return
        with session(self._lines.control.fresh(CONTROL_TIMEOUT_S)) as wire:
            for patch in reuse.patches:
                item = patch.large.item
                request = {"name": item.name, "size": item.size_bytes, "mtime_ns": item.mtime_ns, "base": patch.base}
                ask(wire, op="clone", root=self._remote_dir, copies=patch.copies, **request)
                self.progress.reused(item.size_bytes - sum(length for _, length in patch.large.todo))

    def _copy(self, reuse: Reuse) -> list[str]:
        """Have the machine copy what it has; gives the names where it turned out not to."""
        if not reuse.copies:
            return []
        sources = [source for _, _, source in reuse.copies]
        rows = [
            _copy_row(
                item,
                digest or self._digests.get(str(source), ""),
                source,
                # A name that is gone here may give its file away instead of a copy.
                moves=isinstance(source, str) and source not in self._items and sources.count(source) == 1,
            )
            for item, digest, source in reuse.copies
        ]
        with session(self._lines.control.fresh(CONTROL_TIMEOUT_S)) as wire:
            answer = ask(wire, op="copies", root=self._remote_dir, items=rows)
        bad = {str(name) for name in answer.get("bad") or []}
        for item, digest, source in reuse.copies:
            if item.name not in bad:
                self._digests[item.name] = digest or self._digests.get(str(source), "")
                self.progress.reused(item.size_bytes, files=1)
        return [item.name for item, _, _ in reuse.copies if item.name in bad]

    def _fresh(self, name: str) -> Item | None:
        """The file as it is now; `None`, and no longer part of the tree, where it is gone."""
        item = look_again(self._root, self._items[name])
        if item is None:
            del self._items[name]
        else:
            self._items[name] = item
        return item

    def _commit(self, todo: Difference, *, resumed: bool) -> None:
        """Put it all in place."""
        present = self._items
        expect = state_digest(map(line_of, present.values()))
        kept = {item.name for item in self._meta}
        request = {
            "delete": [*todo.delete, *(item.name for item in todo.files if item.name not in present)],
            "folders": [[item.name, item.mode] for item in todo.folders],
            "links": [[item.name, item.link_target] for item in todo.links],
            "meta": [[item.name, item.mtime_ns, item.mode] for item in (*todo.meta, *self._meta)],
        }
        if resumed or self.changed:
            request["files"] = [item.name for item in todo.files if item.name in present and item.name not in kept]
        with session(self._lines.control.fresh(CONTROL_TIMEOUT_S)) as wire:
            done = ask(wire, op="commit", root=self._remote_dir, expect=expect, **request)
            if done.get("committed") is not True:
                ask(wire, op="drop", root=self._remote_dir)
                raise TransferError(
                    "what came together on the machine is not what was sent; nothing was put in place",
                    hint="the same command again sends it anew",
                )
        entries = [
            [*item[:6], self._digests.get(item.name, "") if item.kind == "f" else ""] for item in present.values()
        ]
        self._memory.keep_pushed(self._where, expect, entries)


def _copy_row(item: Item, digest: str, source: Source, *, moves: bool) -> Json:
    return [source, item.name, item.size_bytes, item.mtime_ns, item.mode, digest, moves]


def unreadable(error: OSError, root: str) -> SpecError:
    """What to say of a local file that cannot be read."""
    return SpecError(
        f"{shown(str(error.filename or root))} cannot be read: {error.strerror}",
        hint=f"chmod u+rX {shown(str(error.filename or root))}   (or name it in .gpurunignore)",
    )


class _Hashes:
    """`reuse.Machine` by the agent."""

    def __init__(self, lines: Lines, remote_dir: str) -> None:
        self._lines = lines
        self._remote_dir = remote_dir

    def leaves(self, name: str) -> bytes:
        """Of the whole file."""
        return self._ask("leaves", name=name)

    def grains(self, name: str, ranges: Sequence[Range]) -> bytes:
        """Of ranges of it."""
        return self._ask("grains", name=name, ranges=list(ranges))

    def _ask(self, what: str, **request: Json) -> bytes:
        with session(self._lines.control.fresh(CONTROL_TIMEOUT_S)) as wire:
            return decode_hashes(ask(wire, op=what, root=self._remote_dir, **request), what)


class _Stream:
    """The contents of one attempt, made by several threads, carried by lanes."""

    def __init__(self, root: str, reuse: Reuse, staged: _Staged, *, zstd: bool, progress: _Progress) -> None:
        self.digests: dict[str, str] = {}
        self.done: list[Large] = []
        self.changed: list[str] = []
        self._root = root
        self._zstd = zstd
        self._progress = progress
        self._lock = threading.Lock()
        self._packing = THREADS
        self._small = batches([item for item in reuse.send if item.size_bytes <= SMALL_BYTES])
        self._large = [_whole(item, staged) for item in reuse.send if item.size_bytes > SMALL_BYTES]
        self._large += [patch.large for patch in reuse.patches]
        self.total_bytes = sum(item.size_bytes for batch in self._small for item in batch)
        self.total_bytes += sum(length for large in self._large for _, length in large.todo)

    def run(self, lanes: Lanes) -> None:
        """Until all of it is there; raises `RemoteError`, and `SpecError` for a file that cannot be read."""
        self._lanes = lanes
        works, guard = self._works(), threading.Lock()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="gpurun-pack") as pool:
            for _ in range(THREADS):
                pool.submit(self._pack, works, guard)
            lanes.run(lambda: self._progress.tell(lanes.connections, lanes.sent_bytes))
        self._progress.sent_bytes += lanes.sent_bytes

    def on_reply(self, work: Work, kind: bytes, payload: bytes) -> None:
        """Note what has come; raises `TransferError` where the machine says that something else did."""
        if kind != b"A" or not isinstance(work, Parcel):
            raise TransferError(f"the machine refused what came: {told(payload.decode(errors='replace'))}")
        for item, digest in work.files:
            self.digests[item.name] = digest
        self._progress.moved(work.raw_bytes, files=len(work.files) + work.seals)
        if work.large is not None:
            self._range_came(work.large, sealed=work.seals)

    def _range_came(self, large: Large, *, sealed: bool) -> None:
        if sealed:
            self.digests[large.item.name] = large.digest.hex()
            self.done.append(large)
            return
        with self._lock:
            large.left -= 1
            last = large.left == 0
        if last:
            self._seal(large)

    def _seal(self, large: Large) -> None:
        """Have a file put together, unless it has changed since it was looked at."""
        now = look_again(self._root, large.item)
        if now is None or now[2:4] != large.item[2:4]:
            self.changed.append(large.item.name)
        else:
            self._lanes.put_first(pack_seal(large))

    def _works(self) -> Iterator[Callable[[], Parcel | None]]:
        """What is to be packed, piece by piece."""
        for batch in self._small:
            yield partial(self._files, batch)
        for large in self._large:
            yield from self._pieces(large)

    def _pieces(self, large: Large) -> Iterator[Callable[[], Parcel | None]]:
        path = f"{self._root}/{large.item.name}"
        pays = shrinks(path, large.item.size_bytes)
        groups = grouped(large.todo, SHRINKING_PIECE_BYTES if pays else PIECE_BYTES)
        large.left = len(groups)
        if not groups:
            self._seal(large)
        for group in groups:
            yield partial(self._range, large, group, path, pays=pays)

    def _files(self, batch: Sequence[Item]) -> Parcel | None:
        """Read and pack small files; those that are not as long as they were are told."""
        packed = []
        for item in batch:
            try:
                content = read_small(f"{self._root}/{item.name}", item)
            except FileNotFoundError:
                content = None
            if content is None:
                self.changed.append(item.name)
            else:
                packed.append((item, content, digest_of(content)))
        return pack_files(packed, self._level()) if packed else None

    def _range(self, large: Large, group: Sequence[tuple[int, int]], path: str, *, pays: bool) -> Parcel | None:
        """Read and pack ranges of a large file; what an earlier attempt had brought is only hashed."""
        try:
            contents = read_ranges(path, group)
        except FileNotFoundError:
            contents = None
        if contents is None:
            # Nothing more of it is answered, so that it is never put together.
            self._note_changed(large.item.name)
            return None
        parcel = pack_ranges(large, group, contents, self._level() if pays else STORED)
        self._progress.reused(sum(length for _, length in group) - parcel.raw_bytes)
        if not parcel.body:
            self._range_came(large, sealed=False)
            return None
        return parcel

    def _note_changed(self, name: str) -> None:
        with self._lock:
            if name not in self.changed:
                self.changed.append(name)

    def _pack(self, works: Iterator[Callable[[], Parcel | None]], guard: threading.Lock) -> None:
        """One thread's share: take a piece, pack it, hand it to the lanes."""
        try:
            while True:
                with guard:
                    work = next(works, None)
                if work is None:
                    return
                parcel = work()
                if parcel is not None:
                    self._lanes.put(parcel)
        except Cancelled:
            return
        except OSError as error:
            self._lanes.fail(unreadable(error, self._root))
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            self._lanes.fail(error)
        finally:
            with guard:
                self._packing -= 1
                if not self._packing:
                    self._lanes.close()

    def _level(self) -> int:
        """zstd's level now; 0 where the machine has zlib alone."""
        return LEVELS[min(len(LEVELS) - 1, self._lanes.waiting * len(LEVELS) // WAITING_LIMIT)] if self._zstd else 0


def _whole(item: Item, staged: _Staged) -> Large:
    """A large file from its beginning, with what an earlier attempt had brought."""
    key = part_key(item.name, item.size_bytes, item.mtime_ns)
    leaves = bytearray(leaf_count(item.size_bytes) * HASH_BYTES)
    return Large(item=item, leaves=leaves, todo=[(0, item.size_bytes)], have=staged.parts.get(key, []))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    """What an earlier attempt had brought."""

    rows: dict[str, There] = field(default_factory=dict)
    parts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Of each part the ranges (offset, length) that are verified."""


def _staged(answer: dict[str, Json]) -> _Staged:
    """What the machine says of its stage; raises `TransferError` on nonsense."""
    rows = entries_of(answer.get("rows"))
    try:
        parts = {
            str(key): [(int(first) * LEAF_BYTES, int(count) * LEAF_BYTES) for first, count in runs]
            for key, runs in (answer.get("parts") or {}).items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise TransferError(f"the machine says nonsense of what has arrived: {told(repr(error))}") from None
    return _Staged(rows=rows, parts=parts)


def _store(state: dict[str, Json]) -> dict[int, list[str]]:
    """The contents of the machine's store by their size; raises `TransferError` on nonsense."""
    found: dict[int, list[str]] = {}
    try:
        for size_bytes, name in state.get("store") or []:
            found.setdefault(int(size_bytes), []).append(str(name))
    except (TypeError, ValueError) as error:
        raise TransferError(f"the machine says nonsense of its store: {told(repr(error))}") from None
    return found


class _Progress:
    """Counts what moved, from any thread, and tells it from one."""

    def __init__(self, report: Report, label: str) -> None:
        self.files = 0
        self.size_bytes = 0
        self.sent_bytes = 0
        self.reused_bytes = 0
        self._report = report
        self._label = label
        self._lock = threading.Lock()
        self._done_files = 0
        self._total_bytes = 0
        self._total_files = 0

    def begin(self, items: Collection[Item], todo: Collection[Item]) -> None:
        """All files, and those of them that may have to be sent."""
        self._total_bytes = sum(item.size_bytes for item in items)
        self._total_files = sum(item.kind == "f" for item in items)
        self.reused_bytes = self._total_bytes - sum(item.size_bytes for item in todo)
        self._done_files = self._total_files - len(todo)

    def moved(self, size_bytes: int, *, files: int) -> None:
        """So much was sent and has arrived."""
        with self._lock:
            self.size_bytes += size_bytes
            self.files += files
            self._done_files += files

    def reused(self, size_bytes: int, *, files: int = 0) -> None:
        """So much lay there already."""
        with self._lock:
            self.reused_bytes += size_bytes
            self._done_files += files

    def tell(self, connections: int = 0, sent_bytes: int = 0) -> None:
        """Say how far it is."""
        with self._lock:
            now = TransferProgress(
                label=self._label,
                done_bytes=min(self._total_bytes, self.size_bytes + self.reused_bytes),
                total_bytes=self._total_bytes,
                done_files=min(self._total_files, self._done_files),
                total_files=self._total_files,
                sent_bytes=self.sent_bytes + sent_bytes,
                reused_bytes=self.reused_bytes,
                connections=connections,
            )
        self._report(now)
