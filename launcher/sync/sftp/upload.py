"""Files up to a machine without python3: staged, compared with what was sent, then renamed into their places."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from launcher.agent.record import line_of, state_digest
from launcher.errors import TransferError
from launcher.ports import Lines
from launcher.sync.local.tree import Item, Scan
from launcher.sync.names import shown
from launcher.sync.sftp.client import CHUNK_BYTES, Refusal, whole_seconds
from launcher.sync.sftp.fallback import (
    NO_SUMS,
    Counter,
    FarSide,
    Tree,
    Window,
    at,
    decoded,
    encoded,
    far_side,
    refused,
)
from launcher.sync.telling import Note, Report, silent
from launcher.sync.up.contents import unreadable
from launcher.sync.up.difference import COLUMN_TYPES, KIND, MTIME, NAME, SIZE, Difference, There, difference
from launcher.sync.up.packing import look_again
from launcher.sync.up.upload import ATTEMPTS, SPARE_BYTES, Transferred
from launcher.sync.wire.frames import Json

RECORD_LIMIT_BYTES = 1 << 26
READ_BYTES = 1 << 20
KNOWN = "known"
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def push(lines: Lines, scan: Scan, remote_dir: str, report: Report, label: str, *, note: Note = silent) -> Transferred:
    """Make `remote_dir` hold what was scanned, as `upload.push` does, with what SFTP alone can do.

    A first upload appears as a whole; in an update every file is replaced whole, one after the other. Times are whole
    seconds there. `note` is told where the machine has no sha256sum to verify with. Raises `RemoteError` as
    `upload.push` does, and where the machine has no SFTP either.
    """
    began = time.monotonic()
    counter = Counter(report, label)
    with far_side(lines, counter.tell) as far:
        if not far.sums.there:
            note(NO_SUMS)
        upload = _Upload(far, scan, remote_dir, counter)
        upload.run()
    counter.tell()
    return Transferred(
        files=counter.files,
        size_bytes=counter.size_bytes,
        sent_bytes=counter.moved_bytes,
        reused_bytes=counter.reused_bytes,
        seconds=time.monotonic() - began,
        changed=tuple(upload.changed),
    )


class _Sent(NamedTuple):
    """A file that was read and written to the stage."""

    name: str
    sha256: str
    held_still: bool


class _Upload:
    """One push."""

    def __init__(self, far: FarSide, scan: Scan, remote_dir: str, counter: Counter) -> None:
        above, _, name = remote_dir.rpartition("/")
        prefix = f"{above}/" if above else ""
        self.changed: list[str] = []
        self._far = far
        self._client = far.client
        self._counter = counter
        self._local = os.fspath(scan.root)
        self._items = {item.name: item for item in scan.items}
        self._above = above
        self._root = far.path(remote_dir)
        self._stage_dir = f"{prefix}.sftp-{name}"
        self._stage = far.path(self._stage_dir)
        self._record = _Record(far, far.path(f"{prefix}.pushed-{name}"))

    def run(self) -> None:
        """All of it."""
        self._make_above()
        tree = self._far.walk(self._root)
        before = self._record.read() if tree else {}
        todo = difference(list(self._items.values()), self._there(before, tree) if tree else {})
        if tree and not any([todo.files, todo.meta, todo.folders, todo.links, todo.delete]):
            return
        if tree:
            _check_ways(todo, tree, before)
        self._check_room(todo)
        self._counter.begin(todo.size_bytes, len(todo.files))
        self._send_all(todo.files, self._prepare_stage(todo))
        if tree and tree.entries:
            self._update(todo, before)
        else:
            self._appear(in_its_place=tree)

    # What is there.

    def _make_above(self) -> None:
        parts = self._above.split("/") if self._above else []
        for depth in range(1, len(parts) + 1):
            path = self._far.path("/".join(parts[:depth]))
            if self._client.look(path) is None:
                self._client.done(self._client.make_folder(path, 0o700))

    def _there(self, before: dict[str, There], tree: Tree) -> dict[str, There]:
        """The record's lines as the disk has them now; a file is known where nothing has touched it since."""
        found: dict[str, There] = {}
        links = [name for name in before if name in tree.entries and tree.entries[name].kind == "l"]
        targets = dict(zip(links, self._far.errands.each(self._target, links), strict=True))
        for name, row in before.items():
            now = tree.entries.get(name)
            if now is None:
                continue
            mode = now.mode & 0o777
            if now.kind == "f":
                same = (now.size_bytes, now.mtime_s) == (row[SIZE], whole_seconds(row[MTIME])) and row[KIND] == "f"
                found[name] = [name, "f", now.size_bytes, row[MTIME] if same else -1, mode, "", KNOWN if same else ""]
            elif now.kind == "l":
                found[name] = [name, "l", 0, 0, 0, targets[name], ""]
            else:
                found[name] = [name, now.kind, 0, 0, mode | 0o700, "", ""]
        return found

    def _target(self, name: str) -> str:
        return decoded(self._client.read_link(at(self._root, name)))

    def _check_room(self, todo: Difference) -> None:
        free_bytes = self._client.free_bytes(self._far.home)
        if free_bytes is not None and todo.size_bytes + SPARE_BYTES > free_bytes:
            raise TransferError(
                f"the machine's disk is too small: {todo.size_bytes / 1e6:.0f} MB are to go up, "
                f"{free_bytes / 1e6:.0f} MB are free",
                hint="ask for more with resources.disk in the spec, or leave files out with .gpurunignore",
            )

    # The stage.

    def _prepare_stage(self, todo: Difference) -> dict[str, Item]:
        """Folders for what comes, less what an earlier push left that is of no use; gives the files that are whole.

        Where the machine cannot hash, a file of the right size and second is not known to be the right one.
        """
        wanted = {item.name: item for item in todo.files}
        folders = _parents([*wanted, *(item.name for item in todo.links)]) | {item.name for item in todo.folders}
        left = self._far.walk(self._stage)
        whole: dict[str, Item] = {}
        useless: set[str] = set()
        for name, now in left.entries.items() if left else ():
            item = wanted.get(name)
            if item and now[1:] == (item.size_bytes, whole_seconds(item.mtime_ns)) and self._far.sums.there:
                whole[name] = item
            elif name not in folders or now.kind != "d":
                useless.add(name)
        if left is None:
            self._client.done(self._client.make_folder(self._stage, 0o700))
        else:
            self._far.remove(self._stage, useless, left)
        have = set(left.entries) - useless if left else set()
        self._make_folders(self._stage, folders - have)
        return whole

    def _make_folders(self, root: bytes, names: Iterable[str]) -> None:
        self._far.in_order(lambda name: self._client.make_folder(at(root, name), 0o700), sorted(names))

    # Contents.

    def _send_all(self, files: Sequence[Item], staged: dict[str, Item]) -> None:
        """Until the stage holds every file as it is here; what changes under our hands goes once more."""
        each = self._far.errands.each
        missing = [item for item in files if item.name not in staged]
        unchecked = dict(each(self._sum_here, list(staged.values())))
        for _ in range(ATTEMPTS):
            sent = each(self._send, missing)
            unchecked.update({one.name: one.sha256 for one in sent if one.held_still})
            moved = [one.name for one in sent if not one.held_still]
            wrong = self._wrong(unchecked)
            for name in unchecked.keys() - set(wrong):
                count = self._counter.reused if name in staged else self._counter.whole
                count(self._items[name].size_bytes)
            self.changed += [name for name in moved if name not in self.changed]
            failed = [*moved, *wrong]
            if not failed:
                return
            staged, unchecked = {}, {}
            missing = [item for name in failed if (item := self._fresh(name)) is not None]
        raise TransferError(
            f"{shown(failed[0])} changes while it is read, or does not arrive as it was sent; "
            "nothing of this upload was put in place",
            hint="wait until nothing writes to it, or name it in .gpurunignore",
        )

    def _send(self, item: Item) -> _Sent:
        """Write one file to the stage."""
        try:
            descriptor = os.open(f"{self._local}/{item.name}", _READ_ONLY)
        except FileNotFoundError:
            return _Sent(item.name, "", held_still=False)
        except OSError as error:
            raise unreadable(error, self._local) from None
        try:
            return self._write(item, descriptor)
        except Refusal as refusal:
            raise refused(f"to take {shown(item.name)}", refusal) from None
        except OSError as error:
            raise unreadable(error, self._local) from None
        finally:
            os.close(descriptor)

    def _write(self, item: Item, descriptor: int) -> _Sent:
        digest = hashlib.sha256()
        offset = 0
        handle = self._client.open_to_write(at(self._stage, item.name))
        window = Window(self._client)
        while data := os.read(descriptor, READ_BYTES):
            digest.update(data)
            for start in range(0, len(data), CHUNK_BYTES):
                piece = data[start : start + CHUNK_BYTES]
                window.add(self._client.write(handle, offset, piece))
                offset += len(piece)
                self._counter.moved(len(piece))
        window.add(self._client.set_attributes(handle, item.mode, whole_seconds(item.mtime_ns)))
        window.end()
        arrived_bytes = self._client.look_at(handle).size_bytes
        self._client.done(self._client.close(handle))
        if arrived_bytes != offset:
            raise TransferError(
                f"{shown(item.name)} arrived with {arrived_bytes} bytes of {offset}; nothing was put in place"
            )
        now = os.fstat(descriptor)
        held_still = offset == item.size_bytes and now.st_mtime_ns == item.mtime_ns
        return _Sent(item.name, digest.hexdigest(), held_still)

    def _sum_here(self, item: Item) -> tuple[str, str]:
        """A local file's sha256; one that is gone has none, and is looked at again."""
        try:
            with open(f"{self._local}/{item.name}", "rb") as file:  # noqa: PTH123  (as the scan names it)
                return item.name, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return item.name, ""

    def _wrong(self, sums: dict[str, str]) -> list[str]:
        """Those that the machine holds with another content than was sent."""
        if not self._far.sums.there or not sums:
            return []
        found = self._far.sums.of(self._stage_dir, {name: self._items[name].size_bytes for name in sums})
        return [name for name, sha256 in sums.items() if found.get(name) != sha256]

    def _fresh(self, name: str) -> Item | None:
        """The file as it is now; `None`, and no longer part of the tree, where it is gone."""
        item = look_again(self._local, self._items[name])
        if item is None:
            del self._items[name]
            self._far.in_order(self._client.remove, [at(self._stage, name)], lenient=True)
        else:
            self._items[name] = item
        return item

    # Into their places.

    def _appear(self, *, in_its_place: Tree | None) -> None:
        """The whole tree in one step."""
        folders = [item for item in self._items.values() if item.kind == "d"]
        self._make_links([item for item in self._items.values() if item.kind == "l"])
        self._set_modes(self._stage, folders)
        self._record.write(self._rows())
        if in_its_place is not None:
            self._client.done(self._client.remove_folder(self._root))
        self._client.done(self._client.rename(self._stage, self._root))

    def _update(self, todo: Difference, before: dict[str, There]) -> None:
        """One by one; a cut leaves a record by which the next push knows what is still to be done."""
        rows = {row[NAME]: row for row in self._rows()}
        self._record.write([*({**rows, **before}).values()])
        tree = self._far.walk(self._root) or Tree({}, [])
        there = tree.entries
        coming = [item for item in (*todo.files, *todo.links) if item.name in self._items]
        over = {item.name for item in coming if item.name in there and there[item.name].kind != "d"}
        gone = [*todo.delete, *(item.name for item in todo.files if item.name not in self._items)]
        self._far.remove(self._root, {name for name in gone if name in there} - over, tree)
        folders = {item.name for item in todo.folders}
        self._make_folders(self._root, {name for name in folders if name not in there or there[name].kind != "d"})
        self._make_links(todo.links)
        self._far.in_order(
            lambda item: self._client.replace(at(self._stage, item.name), at(self._root, item.name)), coming
        )
        self._set_modes(self._root, [*todo.meta, *todo.folders])
        self._record.write([*rows.values()])
        left = self._far.walk(self._stage) or Tree({}, [])
        self._far.remove(self._stage, left.entries, left)
        self._client.done(self._client.remove_folder(self._stage))

    def _make_links(self, links: Iterable[Item]) -> None:
        self._far.in_order(lambda item: self._client.link(encoded(item.link_target), at(self._stage, item.name)), links)

    def _set_modes(self, root: bytes, items: Iterable[Item]) -> None:
        self._far.in_order(lambda item: self._client.set_mode(at(root, item.name), item.mode), items)

    def _rows(self) -> list[There]:
        """The record; without digests, which only the agent knows."""
        return [[*item[:6], ""] for item in self._items.values()]


class _Record:
    """What an earlier push, by SFTP or by the agent, put there: the file beside the folder that the agent reads too."""

    def __init__(self, far: FarSide, path: bytes) -> None:
        self._client = far.client
        self._path = path

    def read(self) -> dict[str, There]:
        """Its lines by name; empty where there are none that can be read."""
        found = self._client.look(self._path)
        if found is None or found.kind != "f":
            return {}
        handle = self._client.open_to_read(self._path)
        text = bytearray()
        while part := self._client.data_of(self._client.read(handle, len(text), CHUNK_BYTES), CHUNK_BYTES):
            text += part
            if len(text) > RECORD_LIMIT_BYTES:
                return {}
        self._client.done(self._client.close(handle))
        try:
            rows: Json = json.loads(text)["items"]
            return {row[NAME]: row for row in rows if [*map(type, row)] == COLUMN_TYPES}
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}

    def write(self, rows: Sequence[There]) -> None:
        """Put other lines in its place, in one step."""
        partial = self._path + b".part"
        items = sorted(rows)
        text = json.dumps({"digest": state_digest(map(line_of, items)), "items": items}).encode("ascii")
        handle = self._client.open_to_write(partial)
        window = Window(self._client)
        for start in range(0, len(text), CHUNK_BYTES):
            window.add(self._client.write(handle, start, text[start : start + CHUNK_BYTES]))
        window.add(self._client.close(handle))
        window.add(self._client.replace(partial, self._path))
        window.end()


def _check_ways(todo: Difference, tree: Tree, before: dict[str, There]) -> None:
    """Refuse what could not be finished: something that is not ours in the way."""
    for item in (*todo.files, *todo.links, *todo.folders):
        now = tree.entries.get(item.name)
        if now is None or "d" not in {now.kind, item.kind} or now.kind == item.kind:
            continue
        inside = [name for name in tree.entries if name.startswith(f"{item.name}/")] if now.kind == "d" else []
        if any(name not in before for name in (item.name, *inside)):
            raise TransferError(
                f"{shown(item.name)} cannot take its place on the machine: what lies there was not put there by gpurun",
                hint="remove it there, or give what is here another name",
            )


def _parents(names: Iterable[str]) -> set[str]:
    """All folders on the way to these names."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found
