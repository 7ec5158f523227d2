"""A folder that was pushed here, for the other machines of the run: over TLS, to whoever has a token.

The laptop makes the certificate and the tokens, and hands them out over its SSH channels. A caller sends its token, 64
bytes, then as often as it likes a request: a length (4 bytes, big-endian) and as many bytes of JSON, rows of [name,
digest, [[offset, length], ...]]. For each row comes one byte, `+` or `-`, and after a `+` the ranges' bytes.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import select
import socket
import ssl
import struct
import threading
import time

from .files import at_home, below, open_file
from .holes import read_at
from .place import Place
from .wire import Json, Refusal, Wire

LENGTH = struct.Struct(">I")
TOKEN_BYTES = 64
REQUEST_LIMIT_BYTES = 1 << 26
BLOCK_BYTES = 1 << 18
HANDSHAKE_S = 10.0
"""For TLS and the token."""
STALLED_S = 30.0
"""How long a caller may take nothing."""
CALLERS_LIMIT = 64
THERE, LACKING = b"+", b"-"


class Closed(Exception):
    """The other side hung up."""


def share(wire: Wire, request: Json) -> Json:
    """Serve a folder's record on an address of this machine, until told to end or nobody calls for `idle_s`."""
    place = Place(at_home(request["root"]))
    address = request["address"]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen(CALLERS_LIMIT)
        shared = Share(place, server_context(request["certificate"], request["key"]), request["tokens"])
        wire.send_json({"port": listener.getsockname()[1]})
        try:
            ended = await_end(wire, listener, shared, request["idle_s"])
        finally:
            shared.close()
    return {"ended": ended, "served_bytes": shared.served_bytes}


def await_end(wire: Wire, listener: socket.socket, shared: Share, idle_s: float) -> str:
    """Let callers in; says why it is over: `told` or `idle`. Raises `EOFError` where the laptop hung up."""
    ways: Json = [wire.source, listener]
    while True:
        ready, _, _ = select.select(ways, [], [], min(1.0, idle_s / 4))
        if wire.source in ready:
            wire.receive_json()
            return "told"
        if listener in ready:
            with contextlib.suppress(OSError):
                shared.let_in(listener.accept()[0])
        elif shared.idle_s > idle_s:
            return "idle"


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS with that certificate; the key, which OpenSSL wants from a file, is on no disk."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    memory = os.memfd_create("gpurun")
    try:
        os.write(memory, (key + certificate).encode("ascii"))
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return context


class Share:
    """The files of a record, and who takes them."""

    def __init__(self, place: Place, context: ssl.SSLContext, tokens: list[str]) -> None:
        self.served_bytes = 0
        self.root = os.path.realpath(place.root)
        self.items = {item[0]: item for item in place.items() if item[1] == "f"}
        self.context = context
        self.tokens = [token.encode("ascii") for token in tokens]
        self.callers: set[socket.socket] = set()
        self.last = time.monotonic()
        self.lock = threading.Lock()

    @property
    def idle_s(self) -> float:
        """How long nobody has been there."""
        with self.lock:
            return 0.0 if self.callers else time.monotonic() - self.last

    def let_in(self, caller: socket.socket) -> None:
        """Serve a caller in a thread of its own."""
        with self.lock:
            if len(self.callers) >= CALLERS_LIMIT:
                caller.close()
                return
            self.callers.add(caller)
        threading.Thread(target=self.serve, args=(caller,), daemon=True).start()

    def serve(self, caller: socket.socket) -> None:
        """Answer a caller to its end; one without a token learns nothing."""
        known = False
        try:
            caller.settimeout(HANDSHAKE_S)
            with self.context.wrap_socket(caller, server_side=True) as line:
                token = bytes(receive(line, TOKEN_BYTES))
                known = sum(hmac.compare_digest(token, each) for each in self.tokens) > 0
                line.settimeout(STALLED_S)
                while known:
                    self.answer(line)
        except (OSError, Closed, Refusal, ValueError, TypeError, KeyError):
            pass  # it asks again over a new line, or the laptop sends what it lacks
        finally:
            caller.close()
            with self.lock:
                self.callers.discard(caller)
                if known:
                    self.last = time.monotonic()

    def answer(self, line: ssl.SSLSocket) -> None:
        """One request's files."""
        (size,) = LENGTH.unpack(receive(line, LENGTH.size))
        if size > REQUEST_LIMIT_BYTES:
            raise Refusal("a request is too long")
        for name, digest, ranges in json.loads(bytes(receive(line, size))):
            descriptor = self.open(name, digest)
            line.sendall(LACKING if descriptor < 0 else THERE)
            if descriptor >= 0:
                try:
                    for offset, length in ranges:
                        self.send(line, descriptor, offset, length)
                finally:
                    os.close(descriptor)

    def open(self, name: str, digest: str) -> int:
        """A file of the record that holds, as far as can be seen, what is wanted; -1 where none does."""
        item = self.items.get(name)
        if item is None or item[6] != digest:
            return -1
        try:
            # The record's folders are real ones, unless the job has put links in their place.
            if os.path.dirname(os.path.realpath(below(self.root, name))) != os.path.dirname(f"{self.root}/{name}"):
                return -1
            descriptor = open_file(below(self.root, name))
        except OSError:
            return -1
        found = os.fstat(descriptor)
        if (found.st_size, found.st_mtime_ns) == (item[2], item[7] if len(item) > 7 else item[3]):
            return descriptor
        os.close(descriptor)
        return -1

    def send(self, line: ssl.SSLSocket, descriptor: int, offset: int, length: int) -> None:
        """A range of an open file; hangs up where the file has become shorter."""
        while length:
            block = read_at(descriptor, offset, min(length, BLOCK_BYTES))
            if not block:
                raise Closed
            line.sendall(block)
            self.served_bytes += len(block)
            offset, length = offset + len(block), length - len(block)

    def close(self) -> None:
        """Hang up on everybody."""
        with self.lock:
            for caller in self.callers:
                with contextlib.suppress(OSError):
                    caller.shutdown(socket.SHUT_RDWR)


def receive(line: socket.socket, size: int) -> memoryview:
    """Exactly `size` bytes; raises `Closed` where the other side hangs up before, `OSError`."""
    data = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        count = line.recv_into(data[filled:])
        if not count:
            raise Closed
        filled += count
    return data
