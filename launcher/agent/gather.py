"""What the laptop pushes to several machines, from the first of them that has it: see `share`.

Everything is compared with the digests that the laptop gives, staged as an upload's files are, and put in place by the
laptop's own push, which finds it in the stage.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from .files import at_home, in_threads
from .hashes import digest_of_leaves, leaves_of
from .intake import Intake, with_room
from .parcels import join
from .place import Place
from .share import HANDSHAKE_S, LENGTH, STALLED_S, THERE, Closed, receive
from .wire import Json, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL_BYTES = 1 << 20
"""Larger files come in ranges."""
BATCH_BYTES, BATCH_FILES = 1 << 22, 512
RANGE_BYTES = 1 << 25
PIECE_BYTES = 1 << 20
LINES = 4
ATTEMPTS = 3
TOLD_EVERY_S = 0.2


class Unreachable(Exception):
    """The machine that has the files does not answer, or not as the one that the laptop means."""


def gather(wire: Wire, request: Json) -> Json:
    """Stage the files `items` ([name, size, mtime_ns, mode, digest]) of the machine at `address` and `port`.

    Tells how far it is, then `{"end": true, "why": ...}`: what did not come, for whatever reason, the laptop sends.
    """
    place = Place(at_home(request["root"]))
    place.open_stage()
    old = os.umask(0)  # files get their mode when they are made
    try:
        haul = Haul(wire, place, Source(request), request["items"])
        haul.run()
    except OSError as error:
        raise with_room(error, place, sum(item[1] for item in request["items"])) from None
    finally:
        os.umask(old)
    return {"end": True, "files": haul.files, "bytes": haul.bytes, "why": haul.why}


class Source:
    """The machine that has the files."""

    def __init__(self, request: Json) -> None:
        self.address = (request["address"], request["port"])
        self.token = request["token"].encode("ascii")
        self.certificate = ssl.PEM_cert_to_DER_cert(request["certificate"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.check_hostname = False  # there is one certificate, and it is compared as it stands
        self.context.load_verify_locations(cadata=request["certificate"])

    def call(self) -> ssl.SSLSocket:
        """A line to it; raises `Unreachable`."""
        try:
            caller = socket.create_connection(self.address, HANDSHAKE_S)
            try:
                line = self.context.wrap_socket(caller)
            except BaseException:
                caller.close()
                raise
            if line.getpeercert(binary_form=True) != self.certificate:
                line.close()
                raise Unreachable("another certificate")
            line.settimeout(STALLED_S)
            line.sendall(self.token)
        except OSError as error:
            raise Unreachable(str(error)) from None
        return line


class Batch:
    """Small files, whole, in one request."""

    def __init__(self, items: list[Json]) -> None:
        self.items = items
        self.rows = [[name, digest, [[0, size]]] for name, size, _, _, digest in items]


class Large:
    """A file that comes in ranges, over several lines at once."""

    def __init__(self, item: Json) -> None:
        self.item = item
        self.left = -(-item[1] // RANGE_BYTES)
        self.lacking = False
        self.lock = threading.Lock()

    def is_last(self) -> bool:
        """Whether the range that has come is the last one."""
        with self.lock:
            self.left -= 1
            return not self.left and not self.lacking


class Range:
    """A part of a large file."""

    def __init__(self, large: Large, offset: int) -> None:
        name, size, _, _, digest = large.item
        self.large = large
        self.offset = offset
        self.length = min(RANGE_BYTES, size - offset)
        self.rows = [[name, digest, [[offset, self.length]]]]


def units_of(items: list[Json]) -> Iterator[Batch | Range]:
    """The work, large files first."""
    for item in items:
        if item[1] > SMALL_BYTES:
            large = Large(item)
            for offset in range(0, item[1], RANGE_BYTES):
                yield Range(large, offset)
    batch: list[Json] = []
    filled = 0
    for item in items:
        if item[1] > SMALL_BYTES:
            continue
        if batch and (len(batch) == BATCH_FILES or filled + item[1] > BATCH_BYTES):
            yield Batch(batch)
            batch, filled = [], 0
        batch.append(item)
        filled += item[1]
    if batch:
        yield Batch(batch)


class Haul:
    """All that is taken, and how far it is."""

    def __init__(self, wire: Wire, place: Place, source: Source, items: list[Json]) -> None:
        whole = place.staged_rows()
        missing = [item for item in items if not is_staged(whole.get(item[0]), item)]
        self.files = len(items) - len(missing)
        self.bytes = sum(item[1] for item in items) - sum(item[1] for item in missing)
        self.why = ""
        self.ended = False
        self.wire = wire
        self.place = place
        self.source = source
        self.units = list(units_of(missing))
        self.told = time.monotonic()
        self.lock = threading.Lock()
        self.small = threading.Lock()

    def run(self) -> None:
        """Until all has come, or the machine is beyond reach; raises `OSError` of the disk."""
        units = iter(self.units)
        guard = threading.Lock()

        def take() -> Batch | Range | None:
            with guard:
                return None if self.ended else next(units, None)

        def work(_: int) -> None:
            intake = Intake(self.place)
            try:
                Carrier(self, intake).run(take)
            finally:
                intake.close()

        in_threads(work, range(min(LINES, len(self.units))), LINES)

    def came(self, files: int, size: int) -> None:
        """So much more."""
        with self.lock:
            self.files += files
            self.bytes += size
            if time.monotonic() - self.told > TOLD_EVERY_S:
                self.told = time.monotonic()
                self.wire.send_json({"files": self.files, "bytes": self.bytes})

    def note_wrong(self, why: str) -> None:
        """A file is not what is wanted; the others may be. The first tells."""
        with self.lock:
            self.why = self.why or why

    def give_up(self, why: str) -> None:
        """No more will come."""
        self.note_wrong(f"{self.source.address[0]}: {why}")
        self.ended = True


class Carrier:
    """One thread, one line."""

    def __init__(self, haul: Haul, intake: Intake) -> None:
        self.haul = haul
        self.intake = intake
        self.line: ssl.SSLSocket | None = None

    def run(self, take: Json) -> None:
        """Work until there is no more."""
        try:
            for unit in iter(take, None):
                if not self.bring(unit):
                    return
        finally:
            self.hang_up()

    def bring(self, unit: Batch | Range) -> bool:
        """One unit, over as many lines as it takes; `False` where none holds."""
        for _ in range(ATTEMPTS):
            try:
                if self.line is None:
                    self.line = self.haul.source.call()
                request = json.dumps(unit.rows).encode("ascii")
                self.ask(LENGTH.pack(len(request)) + request)
                self.take_batch(unit) if isinstance(unit, Batch) else self.take_range(unit)
            except Unreachable as error:
                self.haul.give_up(str(error))
                return False
            except Closed:
                self.hang_up()
            else:
                return True
        self.haul.give_up("it hangs up")
        return False

    def ask(self, data: bytes) -> None:
        """Send it; raises `Closed`."""
        try:
            self.connected().sendall(data)
        except OSError:
            raise Closed from None

    def receive(self, size: int) -> memoryview:
        """Exactly so much; raises `Closed`."""
        try:
            return receive(self.connected(), size)
        except OSError:
            raise Closed from None

    def connected(self) -> ssl.SSLSocket:
        """The line."""
        if self.line is None:
            raise Closed
        return self.line

    def take_batch(self, batch: Batch) -> None:
        """Whole files."""
        found = [(item, self.receive(item[1])) for item in batch.items if self.is_there(item)]
        # Together as a rule; where one of them is not what the laptop means, each by itself.
        if found and self.accept_files(found):
            for pair in found:
                why = self.accept_files([pair])
                if why:
                    self.haul.note_wrong(why)

    def is_there(self, item: Json) -> bool:
        """Whether the machine has that file as it was pushed."""
        there = bytes(self.receive(1)) == THERE
        if not there:
            self.haul.note_wrong(f"{item[0]} is not there as it was pushed")
        return there

    def accept_files(self, found: list[tuple[Json, memoryview]]) -> str:
        """Stage files if they are what the laptop means; says why not, if so."""
        rows = [item[:4] for item, _ in found]
        digests = [bytes.fromhex(item[4]) for item, _ in found]
        with self.haul.small:
            why = self.intake.accept(join({"files": rows}, digests, [content for _, content in found]))
        if not why:
            self.haul.came(len(found), sum(len(content) for _, content in found))
        return why

    def take_range(self, part: Range) -> None:
        """A range of a large file, piece by piece; the last one puts the file together."""
        name, size, mtime_ns, mode, digest = part.large.item
        if not self.is_there(part.large.item):
            part.large.lacking = True
            return
        end = part.offset + part.length
        for offset in range(part.offset, end, PIECE_BYTES):
            content = self.receive(min(PIECE_BYTES, end - offset))
            zeros = content == bytes(len(content))
            header = {"parts": [name, size, mtime_ns, [[offset, len(content), zeros]]]}
            self.accept(join(header, [digest_of_leaves(leaves_of(content))], [] if zeros else [content]))
            self.haul.came(0, len(content))
        if part.large.is_last() and self.accept(
            join({"seal": [name, size, mtime_ns, mode]}, [bytes.fromhex(digest)], [])
        ):
            self.haul.came(1, 0)

    def accept(self, body: bytes) -> bool:
        """Stage a part."""
        why = self.intake.accept(body)
        if why:
            self.haul.note_wrong(why)
        return not why

    def hang_up(self) -> None:
        """Close the line."""
        if self.line is not None:
            self.line.close()
        self.line = None


def is_staged(row: Json, item: Json) -> bool:
    """Whether that line of the stage is the file that is wanted."""
    return bool(row) and row[1:5] == ["f", *item[1:4]] and row[6] == item[4]
