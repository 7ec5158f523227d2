"""Files to and from a machine without python3: what both directions need of SFTP."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

from launcher.domain import TransferProgress
from launcher.errors import RemoteError, TransferError
from launcher.ports import Connection, Lines
from launcher.sync.names import shown
from launcher.sync.sftp.client import Attributes, NotSftp, Pending, Refusal, SftpClient
from launcher.sync.sftp.sums import Sums
from launcher.sync.telling import Report

CONNECT_TIMEOUT_S = 60.0
FILES_AT_ONCE = 24
"""Each takes two round trips; so many hide them."""
TICK_S = 0.1
PATH_LIMIT = 4096
ENTRIES_LIMIT = 5_000_000
"""Of a tree: beyond either a server makes names up, without end."""
AHEAD = 64
"""Requests of a file that are on their way: with chunks of 32 KiB the two megabytes of sshd's window."""
NO_SUMS = "the machine has no sha256sum: of what was transferred sizes and times alone could be compared"

T = TypeVar("T")
R = TypeVar("R")
_Rows = list[tuple[str, Attributes]]


class Tree(NamedTuple):
    """What lies in a folder of the machine."""

    entries: dict[str, Attributes]
    """By relative name, surrogate-escaped where it is not UTF-8."""
    skipped: list[tuple[str, str]]
    """(name, why) of folders that cannot be read."""


class Counter:
    """Counts what moved, from any thread; told in the one that waits."""

    def __init__(self, report: Report, label: str) -> None:
        self.files = self.size_bytes = self.moved_bytes = self.reused_bytes = 0
        """Files that came or went whole, their size, what was on the line for them, and what needed none."""
        self._total_bytes = self._total_files = self._done_files = 0
        self._report = report
        self._label = label
        self._lock = threading.Lock()

    def begin(self, total_bytes: int, total_files: int) -> None:
        """What there is to do."""
        self._total_bytes, self._total_files = total_bytes, total_files

    def moved(self, size_bytes: int) -> None:
        """So much went over the line."""
        with self._lock:
            self.moved_bytes += size_bytes

    def whole(self, size_bytes: int) -> None:
        """One file is whole."""
        with self._lock:
            self.files += 1
            self.size_bytes += size_bytes
            self._done_files += 1

    def reused(self, size_bytes: int, *, files: int = 1) -> None:
        """So much was there already."""
        with self._lock:
            self.reused_bytes += size_bytes
            self._done_files += files

    def tell(self) -> None:
        """Say how far it is."""
        with self._lock:
            now = TransferProgress(
                label=self._label,
                done_bytes=min(self._total_bytes, self.moved_bytes + self.reused_bytes),
                total_bytes=self._total_bytes,
                done_files=min(self._total_files, self._done_files),
                total_files=self._total_files,
                sent_bytes=self.moved_bytes,
                reused_bytes=self.reused_bytes,
                connections=1,
            )
        self._report(now)


class Errands:
    """Threads that do the same to many files; the caller's thread waits and tells how far they are."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._pool = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="gpurun-sftp")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the threads; what has not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The results, in order; raises the first error."""
        futures = [self._pool.submit(work, item) for item in items]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, TICK_S, FIRST_EXCEPTION)
            for future in done:
                future.result()
            self._tick()
        return [future.result() for future in futures]


class Window:
    """Requests that are under way: the server takes them in order, and the oldest is waited for when they are many."""

    def __init__(self, client: SftpClient, *, lenient: bool = False) -> None:
        """`lenient`: what is refused is left as it is."""
        self._client = client
        self._lenient = lenient
        self._waiting: deque[Pending] = deque()

    def add(self, pending: Pending) -> None:
        """Take one more; raises `Refusal` for an older one."""
        self._waiting.append(pending)
        if len(self._waiting) > AHEAD:
            self._take()

    def end(self) -> None:
        """Wait for all of them; raises `Refusal`."""
        while self._waiting:
            self._take()

    def _take(self) -> None:
        try:
            self._client.done(self._waiting.popleft())
        except Refusal:
            if not self._lenient:
                raise


@dataclass(frozen=True, slots=True, kw_only=True)
class FarSide:
    """The machine, as SFTP and sha256sum show it."""

    client: SftpClient
    errands: Errands
    home: bytes
    """Absolute."""
    sums: Sums

    def path(self, remote_dir: str, name: str = "") -> bytes:
        """A name below a folder of the user's home, absolute."""
        folder = at(self.home, remote_dir) if remote_dir else self.home
        return at(folder, name) if name else folder

    def walk(self, root: bytes) -> Tree | None:
        """All below `root`, no link followed; `None` where nothing lies there. Raises `TransferError`."""
        found = self.client.look(root)
        if found is None:
            return None
        if found.kind != "d":
            raise TransferError(f"{_shown(root)} on the machine is no folder: nothing goes through it")
        tree = Tree({}, [])
        level = [""]
        limited = _Limited()
        while level:
            below: list[str] = []
            listed = self.errands.each(lambda prefix: limited.checked(prefix, self._list(root, prefix)), level)
            for prefix, rows in zip(level, listed, strict=True):
                if isinstance(rows, str):
                    tree.skipped.append((prefix.rstrip("/") or ".", rows))
                    continue
                for name, attributes in rows:
                    tree.entries[prefix + name] = attributes
                    if attributes.kind == "d":
                        below.append(f"{prefix}{name}/")
            level = below
        return tree

    def in_order(self, ask: Callable[[T], Pending], things: Iterable[T], *, lenient: bool = False) -> None:
        """One request for each; `lenient`: what is refused is left as it is."""
        window = Window(self.client, lenient=lenient)
        for thing in things:
            window.add(ask(thing))
        window.end()

    def remove(self, root: bytes, names: Iterable[str], tree: Tree) -> None:
        """Remove files and links, then the folders that are empty by then."""
        paths = {name: at(root, name) for name in sorted(names, reverse=True)}
        others = [path for name, path in paths.items() if tree.entries[name].kind != "d"]
        folders = [path for name, path in paths.items() if tree.entries[name].kind == "d"]
        self.in_order(self.client.remove, others)
        self.in_order(self.client.remove_folder, folders, lenient=True)

    def _list(self, root: bytes, prefix: str) -> _Rows | str:
        path = at(root, prefix.rstrip("/")) if prefix else root
        try:
            return [(decoded(name), attributes) for name, attributes in self.client.list_folder(path)]
        except Refusal as refusal:
            return f"cannot be read: {refusal}"


class _Limited:
    """Ends a walk through a tree that has no end; from any thread."""

    def __init__(self) -> None:
        self._entries = 0
        self._lock = threading.Lock()

    def checked(self, prefix: str, rows: _Rows | str) -> _Rows | str:
        """The rows of one folder; raises `TransferError` beyond a limit."""
        if isinstance(rows, str):
            return rows
        with self._lock:
            self._entries += len(rows)
            entries = self._entries
        if entries > ENTRIES_LIMIT:
            raise TransferError(f"the machine sent more than {ENTRIES_LIMIT} names of one folder and those in it")
        if any(len(prefix) + len(name) > PATH_LIMIT for name, _ in rows):
            raise TransferError(f"the machine sent a path of more than {PATH_LIMIT} characters below {shown(prefix)}")
        return rows


@contextmanager
def far_side(lines: Lines, tick: Callable[[], None]) -> Iterator[FarSide]:
    """SFTP over the control connection; raises `RemoteError` where the machine has none, and for a refusal."""
    connection = lines.control.fresh(CONNECT_TIMEOUT_S)
    try:
        # The channel is closed before the threads are waited for: those that wait for answers are told.
        with Errands(tick) as errands, _client(connection) as client:
            home = client.real_path(b".")
            yield FarSide(client=client, errands=errands, home=home, sums=Sums(connection, home))
    except Refusal as refusal:
        raise refused("what was asked for", refusal) from None


def refused(what: str, refusal: Refusal) -> TransferError:
    """What to say of a refusal."""
    return TransferError(
        f"the machine's SFTP server refuses {what}: {refusal}",
        hint="gpurun ssh RUN df -h ~   (a full disk is told as `Failure`)",
    )


def at(root: bytes, name: str) -> bytes:
    """The path of a name below a folder."""
    return root + b"/" + encoded(name)


def encoded(name: str) -> bytes:
    """A name as the machine has it."""
    return name.encode("utf-8", "surrogateescape")


def decoded(name: bytes) -> str:
    """A name of the machine's."""
    return name.decode("utf-8", "surrogateescape")


def _shown(path: bytes) -> str:
    return shown(decoded(path))


def _client(connection: Connection) -> SftpClient:
    stream = connection.subsystem("sftp")
    if stream is not None:
        try:
            return SftpClient(stream)
        except NotSftp:
            stream.close()
    raise RemoteError(
        "the machine has neither python3 nor an SFTP server, so that no file can go there or come from there",
        hint="choose an image that has python3 3.8 or later",
    )
