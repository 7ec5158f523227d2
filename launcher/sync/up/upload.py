"""Files up: what the machine lacks goes over several lines, verified there before any of it is put in place."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from launcher.agent.parcels import NUMBER
from launcher.agent.record import contents_digest, line_of, state_digest
from launcher.errors import TransferError
from launcher.ports import Lines
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Item, Scan
from launcher.sync.names import shown
from launcher.sync.telling import Report
from launcher.sync.up.contents import Contents, unreadable
from launcher.sync.up.difference import DIGEST, KIND, Difference, There, difference
from launcher.sync.up.far_folder import FarFolder, Staged, State
from launcher.sync.up.packing import Parcel, look_again
from launcher.sync.up.progress import Progress
from launcher.sync.up.reuse import Reuse, Source, find_reuse
from launcher.sync.wire.frames import JSON_KINDS, Json, Wire, parse
from launcher.sync.wire.lanes import SMALL_BYTES, Lanes
from launcher.sync.wire.session import session

ATTEMPTS = 3
CONTROL_TIMEOUT_S = 60.0
SPARE_BYTES = 16 << 20
"""Free disk that an upload leaves on the machine."""


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
    progress = Progress(report, label)
    upload = _Upload(lines, scan, remote_dir, progress, memory or Memory(None))
    upload.run()
    progress.tell()
    return Transferred(
        files=progress.files,
        size_bytes=progress.size_bytes,
        sent_bytes=progress.sent_bytes,
        reused_bytes=progress.reused_bytes,
        seconds=time.monotonic() - began,
        changed=tuple(dict.fromkeys(upload.changed)),
    )


class _Upload:
    """One push."""

    def __init__(self, lines: Lines, scan: Scan, remote_dir: str, progress: Progress, memory: Memory) -> None:
        self.changed: list[str] = []
        self._progress = progress
        self._lines = lines
        self._root = os.fspath(scan.root)
        self._items = {item.name: item for item in scan.items}
        self._remote_dir = remote_dir
        self._memory = memory
        self._digests: dict[str, str] = {}
        self._meta: list[Item] = []
        self._todo = Difference(files=(), meta=(), folders=(), links=(), delete=())
        self._spoilt: set[str] = set()
        self._resumed = False
        self._zstd = False

    def run(self) -> None:
        """All of it: one round trip where nothing has changed, two for a small update."""
        with self._session() as wire:
            folder = FarFolder(wire, self._remote_dir)
            folder.ask_state()
            mine = state_digest(map(line_of, self._items.values()))
            state = folder.state()
            if state.digest == mine:
                self._progress.begin(self._items.values(), [])
                return
            there = self._there(folder, state)
            staged = self._compare(folder, state, there)
            reuse = self._reuse(folder, self._less_staged(staged), there, state)
            contents = self._contents(reuse, staged)
            self._require_room(reuse, contents, state)
            if contents.total_bytes <= SMALL_BYTES and not reuse.copies:
                if not self._directly(folder, reuse, contents):
                    return
                failed = [*contents.changed, *self._refused(reuse, contents, there)]
            else:
                failed = None
        if failed is None:
            failed = self._over_lanes(reuse, contents, there, state)
        self._again(failed, there, state)
        with self._session() as wire:
            self._commit(FarFolder(wire, self._remote_dir))

    def _session(self) -> AbstractContextManager[Wire]:
        return session(self._lines.control.fresh(CONTROL_TIMEOUT_S))

    def _there(self, folder: FarFolder, state: State) -> dict[str, There]:
        """What lies there: remembered, where the digests say that it is still so."""
        if not state.digest:
            return {}
        remembered = self._memory.pushed(self._remote_dir)
        if remembered and remembered[0] == state.digest:
            return {line[0]: line for line in remembered[1]}
        return folder.entries()

    def _compare(self, folder: FarFolder, state: State, there: dict[str, There]) -> Staged:
        """Find what is to do; gives what an earlier attempt has left."""
        self._todo = difference(list(self._items.values()), there)
        self._digests = {name: line[DIGEST] for name, line in there.items() if line[KIND] == "f"}
        self._resumed, self._zstd = state.staged, state.zstd
        self._progress.begin(self._items.values(), self._todo.files)
        return folder.staged() if state.staged else Staged()

    def _require_room(self, reuse: Reuse, contents: Contents, state: State) -> None:
        """Raise `TransferError` where the machine's disk does not hold what will be new on it."""
        copied_bytes = sum(item.size_bytes for item, _, source in reuse.copies if not self._moves(source))
        need_bytes = contents.need_bytes + copied_bytes
        if need_bytes and need_bytes + SPARE_BYTES > state.free_bytes:
            raise TransferError(
                f"the machine's disk is too small: {need_bytes / 1e6:.0f} MB are to go up, "
                f"{state.free_bytes / 1e6:.0f} MB are free",
                hint="ask for more with resources.disk in the spec, or leave files out with .gpurunignore",
            )

    def _less_staged(self, staged: Staged) -> list[Item]:
        """Files that an earlier attempt had not brought whole."""
        missing = []
        for item in self._todo.files:
            row = staged.rows.get(item.name)
            if row and row[:5] == [*item[:5]]:
                self._digests[item.name] = row[DIGEST]
                self._progress.reused(item.size_bytes, files=1)
            else:
                missing.append(item)
        return missing

    def _reuse(self, folder: FarFolder, files: Sequence[Item], there: dict[str, There], state: State) -> Reuse:
        """How each file comes about; what needs no content is noted."""
        try:
            reuse = find_reuse(self._root, files, there, state.store, self._memory, folder)
        except OSError as error:
            left = [item for item in files if look_again(self._root, item) is not None]
            if len(left) == len(files):
                raise unreadable(error, self._root) from None
            for name in {item.name for item in files} - {item.name for item in left}:
                del self._items[name]
                self.changed.append(name)
            return self._reuse(folder, left, there, state)
        for item, digest in reuse.same:
            self._digests[item.name] = digest
            self._meta.append(item)
            self._progress.reused(item.size_bytes, files=1)
        for patch in reuse.patches:
            self._progress.reused(patch.large.item.size_bytes - sum(length for _, length in patch.large.todo))
        return reuse

    def _contents(self, reuse: Reuse, staged: Staged) -> Contents:
        return Contents(self._root, reuse, staged, zstd=self._zstd, progress=self._progress, spoilt=self._spoilt)

    def _directly(self, folder: FarFolder, reuse: Reuse, contents: Contents) -> bool:
        """Send a small update, and the order to put it in place, in one go; whether something changed meanwhile."""
        wire, before = folder.wire, folder.wire.sent_bytes
        for patch in reuse.patches:
            folder.say_clone(patch)
        folder.say("take", need_bytes=contents.total_bytes)
        parcels: dict[int, Parcel] = {}
        for number, parcel in enumerate(contents.parcels()):
            parcel.send(wire, number)
            parcels[number] = parcel
            self._digests.update((item.name, digest) for item, digest in parcel.files)
            if parcel.large is not None and parcel.seals:
                self._digests[parcel.large.item.name] = parcel.large.digest.hex()
        wire.send_json({"end": True})
        ordered = not contents.changed
        if ordered:
            folder.say("commit", **self._order())
        for _ in reuse.patches:
            wire.receive_json()
        _read_replies(wire, contents, parcels)
        self._progress.sent_bytes += wire.sent_bytes - before
        self._keep(contents)
        if ordered and contents.refused:
            wire.receive_json()  # the order is refused too: there is not what it must come to
        if contents.changed or contents.refused:
            return True
        folder.commit()
        self._remember()
        return False

    def _over_lanes(self, reuse: Reuse, contents: Contents, there: dict[str, There], state: State) -> list[str]:
        """Send contents over lanes and have others copied; gives the names that have to be looked at again."""
        if reuse.patches:
            with self._session() as wire:
                folder = FarFolder(wire, self._remote_dir)
                for patch in reuse.patches:
                    folder.say_clone(patch)
                    wire.receive_json()
        if reuse.send or reuse.patches:
            request = {"op": "take", "root": self._remote_dir, "need_bytes": contents.total_bytes}
            contents.over(
                Lanes(self._lines, request=request, on_reply=contents.on_reply, total_bytes=contents.total_bytes)
            )
            self._keep(contents)
        failed = [*contents.changed, *self._refused(reuse, contents, there)]
        late = [item.name for item, _, source in reuse.copies if source in failed]
        copies = [each for each in reuse.copies if each[0].name not in late]
        return [*failed, *late, *(self._copy(copies, there, state.store) if copies else [])]

    def _keep(self, contents: Contents) -> None:
        """Note what is there now."""
        self._digests.update(contents.digests)
        self.changed += contents.changed
        for large in contents.done:
            self._memory.keep_digest(
                f"{self._root}/{large.item.name}", large.item, large.digest.hex(), contents.began_ns
            )
            self._memory.keep_leaves(large.item.size_bytes, large.digest.hex(), bytes(large.leaves))

    def _refused(self, reuse: Reuse, contents: Contents, there: dict[str, There]) -> list[str]:
        """The names of changed files that did not come together; the next attempt sends them whole.

        What lies there is not what it seemed to be, or the file here not what was remembered of it.
        """
        for large in (patch.large for patch in reuse.patches if patch.large.item.name in contents.refused):
            there.pop(large.item.name, None)
            self._spoilt.add(large.item.name)
            self._memory.forget_digest(large.item)
            self._progress.reused(sum(length for _, length in large.todo) - large.item.size_bytes)
        return contents.refused

    def _copy(
        self, copies: Sequence[tuple[Item, str, Source]], there: dict[str, There], store: dict[int, list[str]]
    ) -> list[str]:
        """Have the machine copy what it has; gives the names where it turned out not to."""
        sources = [source for _, _, source in copies]
        rows: list[Json] = []
        for item, known, source in copies:
            digest = known or self._digests.get(str(source), "")
            moves = self._moves(source) and sources.count(source) == 1
            rows.append([source, item.name, item.size_bytes, item.mtime_ns, item.mode, digest, moves])
        with self._session() as wire:
            bad = FarFolder(wire, self._remote_dir).copies(rows)
        for (item, _, source), row in zip(copies, rows, strict=True):
            if item.name not in bad:
                self._digests[item.name] = row[5]
                self._progress.reused(item.size_bytes, files=1)
            elif isinstance(source, str):
                there.pop(source, None)  # not what it seemed to be: the next attempt sends this file
            else:
                store.clear()
        return [item.name for item, _, _ in copies if item.name in bad]

    def _moves(self, source: Source) -> bool:
        """Whether a name that is gone here may give its file away instead of a copy."""
        return isinstance(source, str) and source not in self._items

    def _again(self, failed: Sequence[str], there: dict[str, There], state: State) -> None:
        """Once more what changed under our hands, as it is by now, until nothing does."""
        for _ in range(ATTEMPTS - 1):
            if not failed:
                return
            files = [item for name in dict.fromkeys(failed) if (item := self._fresh(name)) is not None]
            with self._session() as wire:
                now = self._reuse(FarFolder(wire, self._remote_dir), files, there, state)
            failed = self._over_lanes(now, self._contents(now, Staged()), there, state)
        if failed:
            raise TransferError(
                f"{shown(failed[0])} changes while it is read; nothing of this upload was put in place",
                hint="wait until nothing writes to it, or name it in .gpurunignore",
            )

    def _fresh(self, name: str) -> Item | None:
        """The file as it is now; `None`, and no longer part of the tree, where it is gone."""
        item = look_again(self._root, self._items[name])
        if item is None:
            del self._items[name]
        else:
            self._items[name] = item
        return item

    def _commit(self, folder: FarFolder) -> None:
        """Put it all in place."""
        folder.say("commit", **self._order())
        folder.commit()
        self._remember()

    def _order(self) -> dict[str, Json]:
        """What is to be done there, and the digest that it must come to."""
        present, todo = self._items, self._todo
        order: dict[str, Json] = {
            "expect": contents_digest(self._lines_now()),
            "delete": [*todo.delete, *(item.name for item in todo.files if item.name not in present)],
            "folders": [[item.name, item.mode] for item in todo.folders],
            "links": [[item.name, item.link_target] for item in todo.links],
            "meta": [[item.name, item.mtime_ns, item.mode] for item in (*todo.meta, *self._meta)],
        }
        if self._resumed or self.changed:
            kept = {item.name for item in self._meta}
            order["files"] = [item.name for item in todo.files if item.name in present and item.name not in kept]
        return order

    def _remember(self) -> None:
        """Write down what lies there now."""
        digest = state_digest(map(line_of, self._items.values()))
        self._memory.keep_pushed(self._remote_dir, digest, self._lines_now())

    def _lines_now(self) -> list[There]:
        """What is here, as the machine will have it in its record."""
        digests = self._digests
        return [[*item[:6], digests.get(item[0], "") if item[1] == "f" else ""] for item in self._items.values()]


def _read_replies(wire: Wire, contents: Contents, parcels: dict[int, Parcel]) -> None:
    """One answer for each parcel, and the one that ends them; raises `RemoteError`."""
    for number, parcel in parcels.items():
        kind, payload = wire.receive()
        if kind in JSON_KINDS:
            parse(kind, payload)
        if payload[: NUMBER.size] != NUMBER.pack(number):
            raise TransferError("the machine answered what it was not asked")
        contents.came(parcel, kind, payload[NUMBER.size :])
    wire.receive_json()
