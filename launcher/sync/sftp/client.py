"""SFTP version 3 (draft-ietf-secsh-filexfer-02) over one channel, with as many requests under way as callers bring.

paramiko's own client waits for every answer, knows no name that is not UTF-8, and takes answers of any length.
"""

from __future__ import annotations

import itertools
import stat
import struct
import threading
from concurrent.futures import Future
from typing import NamedTuple, Self

from launcher.errors import HostUnreachable, RemoteError, TransferError
from launcher.ports import Stream
from launcher.sync.names import told

CHUNK_BYTES = 1 << 15
"""Of a read or write: what every server takes."""
PACKET_LIMIT_BYTES = 1 << 18
NAMES_LIMIT = 2_000_000
"""Of one folder."""
SILENCE_LIMIT_S = 60.0
"""Of a server that was asked something."""
_TICK_S = 1.0
_READ_BYTES = 1 << 18
_TIME_LIMIT_S = (1 << 32) - 1

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = (
    range(1, 16)
)
REALPATH, STAT, RENAME, READLINK, SYMLINK = range(16, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201
OK, END, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = range(5)
_TO_READ, _TO_WRITE_ANEW = 0x01, 0x02 | 0x08 | 0x10
_SIZE, _OWNER, _MODE, _TIMES, _MORE = 0x1, 0x2, 0x4, 0x8, 0x80000000


class NotSftp(Exception):
    """What answers does not speak SFTP."""


class Refusal(Exception):
    """The server's answer to a request that it did not fulfil."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Attributes(NamedTuple):
    """What is known of a file, folder or link itself."""

    mode: int
    """As stat(2) has it, kind and permissions; 0 where the server does not tell."""
    size_bytes: int
    mtime_s: int

    @property
    def kind(self) -> str:
        """`f` file, `d` folder, `l` link, `?` anything else."""
        return {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(self.mode), "?")


class Answer(NamedTuple):
    """A packet's kind and what follows its number."""

    kind: int
    body: bytes


Pending = Future[Answer]


class SftpClient:
    """Requests from any thread; paths are bytes. Raises `Refusal`, and `RemoteError` where the line is dead."""

    def __init__(self, stream: Stream) -> None:
        """Raises `NotSftp` where nothing at the other end speaks it."""
        self._stream = stream
        self._buffer = bytearray()
        self._pending: dict[int, Pending] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._dead: RemoteError | None = None
        self._answers = 0
        self._silent: RemoteError | None = None
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_silence, name="gpurun-sftp-watch", daemon=True)
        self._watch.start()
        self._begin()
        self._reader = threading.Thread(target=self._read_answers, name="gpurun-sftp", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up; whoever still waits for an answer is told."""
        self._over.set()
        self._stream.close()
        self._reader.join()
        self._watch.join()

    # Names.

    def real_path(self, path: bytes) -> bytes:
        """The absolute path."""
        return _Reader(self._await(self.send(REALPATH, _text(path)), NAME)).only_name()

    def look(self, path: bytes) -> Attributes | None:
        """What lies there, a link itself and not what it leads to; `None` where nothing does."""
        try:
            return _Reader(self._await(self.send(LSTAT, _text(path)), ATTRS)).attributes()
        except Refusal as refusal:
            if refusal.code == NO_SUCH_FILE:
                return None
            raise

    def list_folder(self, path: bytes) -> list[tuple[bytes, Attributes]]:
        """What lies in a folder, links themselves; raises `TransferError` for a name that cannot be one."""
        handle = self._handle(self.send(OPENDIR, _text(path)))
        found: dict[bytes, Attributes] = {}
        count = -1
        try:
            # A server that brings nothing new would do so for ever.
            while (names := self._next_names(handle)) and len(found) > count:
                count = len(found)
                found.update(names)
                if len(found) > NAMES_LIMIT:
                    raise TransferError(f"the machine sent more than {NAMES_LIMIT} names of one folder")
        finally:
            self.send(CLOSE, _text(handle))
        for name in found:
            if not name or b"/" in name or b"\0" in name:
                raise TransferError(f"the machine sent the name {name!r}, which is none; nothing was written")
        return [row for row in found.items() if row[0] not in {b".", b".."}]

    def read_link(self, path: bytes) -> bytes:
        """Where a link leads."""
        return _Reader(self._await(self.send(READLINK, _text(path)), NAME)).only_name()

    def free_bytes(self, path: bytes) -> int | None:
        """What may still be written there; `None` where the server cannot tell (an extension of OpenSSH's)."""
        try:
            body = self._await(self.send(EXTENDED, _text(b"statvfs@openssh.com"), _text(path)), EXTENDED_REPLY)
        except Refusal:
            return None
        reader = _Reader(body)
        _, fragment_bytes, _, _, available = (reader.long() for _ in range(5))
        return fragment_bytes * available

    # Changes; each may be under way while the next is asked for: the server takes them in order.

    def make_folder(self, path: bytes, mode: int) -> Pending:
        """Make a folder."""
        return self.send(MKDIR, _text(path), struct.pack(">II", _MODE, mode))

    def remove(self, path: bytes) -> Pending:
        """Remove a file or link."""
        return self.send(REMOVE, _text(path))

    def remove_folder(self, path: bytes) -> Pending:
        """Remove an empty folder."""
        return self.send(RMDIR, _text(path))

    def rename(self, source: bytes, target: bytes) -> Pending:
        """Give something another name where nothing has that name."""
        return self.send(RENAME, _text(source), _text(target))

    def replace(self, source: bytes, target: bytes) -> Pending:
        """Give something another name, over what may lie there (rename(2); an extension of OpenSSH's)."""
        return self.send(EXTENDED, _text(b"posix-rename@openssh.com"), _text(source), _text(target))

    def link(self, target: bytes, path: bytes) -> Pending:
        """Make a symbolic link; in OpenSSH's order, which is not the draft's."""
        return self.send(SYMLINK, _text(target), _text(path))

    def set_mode(self, path: bytes, mode: int) -> Pending:
        """Set the permission bits."""
        return self.send(SETSTAT, _text(path), struct.pack(">II", _MODE, mode))

    # Contents.

    def open_to_read(self, path: bytes) -> bytes:
        """A handle."""
        return self._handle(self.send(OPEN, _text(path), struct.pack(">II", _TO_READ, 0)))

    def open_to_write(self, path: bytes) -> bytes:
        """A handle to an empty file that is the user's alone."""
        return self._handle(self.send(OPEN, _text(path), struct.pack(">III", _TO_WRITE_ANEW, _MODE, 0o600)))

    def write(self, handle: bytes, offset: int, data: bytes) -> Pending:
        """Write up to CHUNK_BYTES."""
        return self.send(WRITE, _text(handle), struct.pack(">Q", offset), _text(data))

    def read(self, handle: bytes, offset: int, size: int) -> Pending:
        """Ask for up to CHUNK_BYTES; `data_of` takes the answer."""
        return self.send(READ, _text(handle), struct.pack(">QI", offset, size))

    def data_of(self, pending: Pending, size: int) -> bytes:
        """What was read, `size` bytes at most; empty at the end of the file."""
        try:
            data = _Reader(self._await(pending, DATA)).text()
        except Refusal as refusal:
            if refusal.code == END:
                return b""
            raise
        if not data or len(data) > size:
            raise TransferError(f"the machine sent {len(data)} bytes where {size} were asked for")
        return data

    def set_attributes(self, handle: bytes, mode: int, mtime_s: int) -> Pending:
        """Set permission bits and both times."""
        return self.send(FSETSTAT, _text(handle), struct.pack(">IIII", _MODE | _TIMES, mode, mtime_s, mtime_s))

    def look_at(self, handle: bytes) -> Attributes:
        """What is open."""
        return _Reader(self._await(self.send(FSTAT, _text(handle)), ATTRS)).attributes()

    def close(self, handle: bytes) -> Pending:
        """Close a handle."""
        return self.send(CLOSE, _text(handle))

    def done(self, pending: Pending) -> None:
        """Wait until it is done."""
        self._await(pending, STATUS)

    # Packets.

    def send(self, kind: int, *fields: bytes) -> Pending:
        """Send a request; its answer comes by itself."""
        pending: Pending = Future()
        with self._lock:
            if self._dead is not None:
                raise self._dead
            number = next(self._numbers) & 0xFFFFFFFF
            self._pending[number] = pending
            self._stream.write(_packet(kind, struct.pack(">I", number), *fields))
        return pending

    def _begin(self) -> None:
        try:
            self._stream.write(_packet(INIT, struct.pack(">I", 3)))
            kind, _ = self._next_packet()
        except RemoteError:
            kind = 0
        if kind != VERSION:
            self._over.set()
            raise NotSftp
        self._answers += 1

    def _watch_silence(self) -> None:
        """Hang up on a server that answers nothing; counted in ticks, since we may be stopped ourselves."""
        silent_s, answers = 0.0, -1
        while not self._over.wait(_TICK_S):
            waits = bool(self._pending) or not self._answers
            silent_s = silent_s + _TICK_S if waits and answers == self._answers else 0.0
            answers = self._answers
            if silent_s >= SILENCE_LIMIT_S:
                self._silent = HostUnreachable(
                    f"the machine's SFTP server has not answered for {SILENCE_LIMIT_S:.0f} s",
                    hint="the same command again goes on from here; gpurun doctor",
                )
                self._stream.close()
                return

    def _read_answers(self) -> None:
        try:
            while True:
                kind, rest = self._next_packet()
                self._answers += 1
                self._asked(int.from_bytes(rest[:4], "big")).set_result(Answer(kind, rest[4:]))
        except RemoteError as error:
            self._end(self._silent or error)
        except Exception as error:  # noqa: BLE001  (raised again by whoever waits for an answer)
            self._end(HostUnreachable(f"the SFTP channel ended: {told(repr(error))}"))

    def _asked(self, number: int) -> Pending:
        with self._lock:
            pending = self._pending.pop(number, None)
        if pending is None:
            raise TransferError("the machine answered what it was not asked")
        return pending

    def _end(self, error: RemoteError) -> None:
        self._stream.close()
        with self._lock:
            self._dead = error
            waiting = list(self._pending.values())
            self._pending.clear()
        for pending in waiting:
            pending.set_exception(error)

    def _next_packet(self) -> tuple[int, bytes]:
        self._fill(5)
        size, kind = struct.unpack_from(">IB", self._buffer)
        if not 1 <= size <= PACKET_LIMIT_BYTES:
            raise TransferError(f"the machine announced a packet of {size} bytes")
        self._fill(4 + size)
        body = bytes(memoryview(self._buffer)[5 : 4 + size])
        del self._buffer[: 4 + size]
        return kind, body

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            data = self._stream.read(_READ_BYTES)
            if not data:
                raise HostUnreachable("the machine broke off in the middle", hint="gpurun status")
            self._buffer += data

    def _await(self, pending: Pending, wanted: int) -> bytes:
        kind, body = pending.result()
        if kind == STATUS:
            reader = _Reader(body)
            code = reader.number()
            if code == OK and wanted == STATUS:
                return b""
            raise Refusal(code, told(reader.text().decode(errors="replace")))
        if kind != wanted:
            raise TransferError(f"the machine sent a packet of kind {kind} where {wanted} was due")
        return body

    def _handle(self, pending: Pending) -> bytes:
        return _Reader(self._await(pending, HANDLE)).text()

    def _next_names(self, handle: bytes) -> list[tuple[bytes, Attributes]]:
        try:
            return _Reader(self._await(self.send(READDIR, _text(handle)), NAME)).names()
        except Refusal as refusal:
            if refusal.code == END:
                return []
            raise


def whole_seconds(mtime_ns: int) -> int:
    """A time as SFTP can say it."""
    return max(0, min(_TIME_LIMIT_S, mtime_ns // 1_000_000_000))


class _Reader:
    """The fields of an answer; raises `TransferError` where it is shorter than it says."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def long(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def text(self) -> bytes:
        return self._take(self.number())

    def attributes(self) -> Attributes:
        flags = self.number()
        size_bytes = self.long() if flags & _SIZE else 0
        if flags & _OWNER:
            self._take(8)
        mode = self.number() if flags & _MODE else 0
        mtime_s = (self.number(), self.number())[1] if flags & _TIMES else 0
        for _ in range(self.number() if flags & _MORE else 0):
            self.text()
            self.text()
        return Attributes(mode, size_bytes, mtime_s)

    def names(self) -> list[tuple[bytes, Attributes]]:
        found = []
        for _ in range(self.number()):
            name = self.text()
            self.text()  # the same as ls(1) shows it
            found.append((name, self.attributes()))
        return found

    def only_name(self) -> bytes:
        names = self.names()
        if len(names) != 1:
            raise TransferError(f"the machine sent {len(names)} names where one was due")
        return names[0][0]

    def _take(self, size: int) -> bytes:
        part = self._body[self._at : self._at + size]
        if len(part) < size:
            raise TransferError("the machine sent an answer that is shorter than it says")
        self._at += size
        return part


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _packet(kind: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    return struct.pack(">IB", 1 + len(body), kind) + body
