"""SSH's packets, in large pieces: one read or write of the socket carries several of them.

paramiko reads and writes the socket two or three times for each packet of 32 KiB, and copies each packet six times.
This layer takes its place through paramiko's own `packetizer_class`. Packets under AES-GCM are sealed and opened here;
all others (the handshake's, AES-CTR's) by paramiko, over the reads and writes of this layer. paramiko's keepalive is
not served here: `launcher.sync.ssh.watch` asks.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast
from weakref import WeakValueDictionary

from cryptography.exceptions import InvalidTag

from launcher.sync.ssh.dial import quick_ack
from launcher.sync.ssh.inbox import Inbox
from launcher.sync.ssh.lean import paramiko

BUFFER_BYTES = 1 << 19
PACKET_LIMIT_BYTES = 1 << 18
"""OpenSSH's own limit (its PACKET_MAX_SIZE); 35,000 is what RFC 4253 asks for."""
HURRIED_READS = 64
"""Acknowledged at once: sshd holds back the reply to the first session until its last message is, 40 ms else."""
CHANNEL_DATA = 94
CHANNEL_EOF = 96
DATA_HEADER_BYTES = 9
"""Message number, channel, length (RFC 4254, section 5.2)."""
TAG_BYTES = 16
BLOCK_BYTES = 16
PIECES_AT_ONCE = 256
"""Well under what one gathering write takes (IOV_MAX is 1024)."""


class Engine(Protocol):
    """An AEAD cipher, as `cryptography` has it."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """Seal `data`."""

    def decrypt(self, nonce: bytes, data: memoryview, associated_data: memoryview) -> bytes:
        """Open `data`; raises `InvalidTag`."""


class Burst:
    """Data of one channel for several packets; to paramiko's transport, which waits for a re-key, a message."""

    def __init__(self, channel: paramiko.Channel, pieces: Sequence[memoryview], *, last: bool = False) -> None:
        self._channel = channel
        self._pieces = pieces
        self._last = last

    def claim(self) -> bool:
        """Whether it may still go: sshd ends the whole connection over data that comes after its channel's end."""
        with self._channel.lock:
            if self._channel.closed or self._channel.eof_sent:
                return False
            self._channel.eof_sent = self._last
            return True

    def payloads(self) -> list[tuple[bytes, memoryview]]:
        """Each packet's header and data."""
        channel = self._channel.remote_chanid.to_bytes(4, "big")
        data = bytes([CHANNEL_DATA]) + channel
        packets = [(data + len(piece).to_bytes(4, "big"), piece) for piece in self._pieces]
        if self._last:
            packets.append((bytes([CHANNEL_EOF]) + channel, memoryview(b"")))
        return packets


class Packets(paramiko.packet.Packetizer):
    """paramiko's packet layer with few system calls; it also knows when the far side last said something."""

    if TYPE_CHECKING:

        def _trigger_rekey(self) -> None:
            """paramiko's own, which its stubs do not have."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.heard_at = time.monotonic()
        """When bytes last came, in `time.monotonic()` seconds."""
        self._connection: socket.socket | paramiko.Channel = connection
        self._hurried = HURRIED_READS
        self._inboxes: WeakValueDictionary[int, Inbox] = WeakValueDictionary()
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._start = self._end = 0
        self._inbound: _Gcm | None = None
        self._outbound: _Gcm | None = None
        self._received = 0
        self._write_lock = threading.RLock()

    def route(self, channel_number: int, inbox: Inbox) -> None:
        """Put a channel's data straight into `inbox`, as long as that lives."""
        self._inboxes[channel_number] = inbox

    # -- keys

    def set_inbound_cipher(self, *args: Any, **options: Any) -> None:
        """Open what comes from now on with this cipher."""
        super().set_inbound_cipher(*args, **options)
        self._inbound = _gcm(options, "iv_in")

    def set_outbound_cipher(self, *args: Any, **options: Any) -> None:
        """Seal what goes from now on with this cipher."""
        super().set_outbound_cipher(*args, **options)
        self._outbound = _gcm(options, "iv_out")

    def reset_seqno_in(self) -> None:
        """Count the messages anew, as strict key exchange wants it."""
        super().reset_seqno_in()
        self._received = 0

    # -- receiving: by the transport's thread alone

    def readline(self, timeout: float) -> str:
        """One line of the greeting; raises `TimeoutError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (length := bytes(self._unread()).find(b"\n")) < 0:
            if not self._fill() and time.monotonic() > deadline:
                raise TimeoutError
        return self._take(length + 1).tobytes().rstrip(b"\r\n").decode()

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Exactly `n` bytes; raises `EOFError`, and `NeedRekeyException` while nothing comes."""
        self._await(n, check_rekey=check_rekey)
        return self._take(n).tobytes()

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The next message that is not data on its way to an inbox."""
        while (inbound := self._inbound) is not None:
            payload = self._open(inbound)
            self._received += 1
            if not self._deliver(payload):
                message = paramiko.Message(payload[1:].tobytes())
                message.seqno = self._received - 1
                return payload[0], message
            if self.need_rekey():
                raise paramiko.packet.NeedRekeyException
        self._received += 1
        return super().read_message()

    def _deliver(self, payload: memoryview) -> bool:
        if payload[0] != CHANNEL_DATA:
            return False
        inbox = self._inboxes.get(int.from_bytes(payload[1:5], "big"))
        if inbox is None:
            return False
        inbox.feed(payload[DATA_HEADER_BYTES : DATA_HEADER_BYTES + int.from_bytes(payload[5:9], "big")])
        return True

    def _open(self, inbound: _Gcm) -> memoryview:
        """The next packet's payload."""
        self._await(4, check_rekey=True)
        size = int.from_bytes(self._unread()[:4], "big")
        if not BLOCK_BYTES <= size <= PACKET_LIMIT_BYTES:
            raise paramiko.SSHException(f"a packet of {size} bytes")
        self._await(4 + size + TAG_BYTES)
        packet = self._take(4 + size + TAG_BYTES)
        plain = inbound.open(packet)
        if inbound.worn(self) and not self.need_rekey():
            self._trigger_rekey()
        if plain[0] >= size - 1:
            raise paramiko.SSHException("a packet that is all padding")
        return memoryview(plain)[1 : size - plain[0]]

    def _await(self, size: int, *, check_rekey: bool = False) -> None:
        """Read until the buffer holds `size` bytes more."""
        if size > PACKET_LIMIT_BYTES + BLOCK_BYTES + TAG_BYTES:
            raise paramiko.SSHException(f"a packet of {size} bytes")
        while self._end - self._start < size:
            if self.handshake_timed_out():
                raise EOFError
            if not self._fill() and check_rekey and self._start == self._end and self.need_rekey():
                raise paramiko.packet.NeedRekeyException

    def _fill(self) -> bool:
        """Read what there is, or wait for the socket's time; `False` where nothing came."""
        if self.closed:
            raise EOFError
        self._make_room()
        try:
            size = self._receive(self._buffer[self._end :])
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            if self.closed:
                raise EOFError from None
            raise
        if not size:
            raise EOFError
        self._end += size
        self.heard_at = time.monotonic()
        if self._hurried:
            self._hurried -= 1
            quick_ack(self._connection)
        return True

    def _receive(self, room: memoryview) -> int:
        if isinstance(self._connection, socket.socket):
            return self._connection.recv_into(room)
        data = self._connection.recv(len(room))  # a channel through a jump host
        room[: len(data)] = data
        return len(data)

    def _make_room(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start > BUFFER_BYTES - PACKET_LIMIT_BYTES - 4 * BLOCK_BYTES:
            rest = self._unread().tobytes()
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)

    def _unread(self) -> memoryview:
        return self._buffer[self._start : self._end]

    def _take(self, size: int) -> memoryview:
        """The next bytes; good until the next read."""
        self._start += size
        return self._buffer[self._start - size : self._start]

    # -- sending: by any thread

    def send_message(self, data: paramiko.Message | Burst) -> None:
        """Seal and send one message, or the channel's data in a burst; raises `EOFError` on a dead line."""
        with self._write_lock:
            if isinstance(data, Burst):
                if data.claim():
                    self._send_burst(data)
            elif self._outbound is None:
                super().send_message(data)
            else:
                self._send_sealed([(data.asbytes(), b"")], self._outbound)

    def write_all(self, out: Any) -> None:
        """Send all of `out`; raises `EOFError` on a dead line."""
        self._write_pieces([out])

    def _send_burst(self, burst: Burst) -> None:
        if self._outbound is not None:
            self._send_sealed(burst.payloads(), self._outbound)
            return
        for header, data in burst.payloads():
            super().send_message(paramiko.Message(header + data))

    def _send_sealed(self, payloads: Sequence[tuple[bytes, bytes | memoryview]], outbound: _Gcm) -> None:
        padding = os.urandom(BLOCK_BYTES + 4)
        pieces: list[bytes] = []
        for header, data in payloads:
            pieces += outbound.seal(header, data, padding)
        self._write_pieces(pieces)
        if outbound.worn(self) and not self.need_rekey():
            self._trigger_rekey()

    def _write_pieces(self, pieces: Sequence[bytes]) -> None:
        views = [memoryview(piece) for piece in pieces]
        while views:
            if self.closed:
                raise EOFError
            views = _after(views, self._send_once(views))

    def _send_once(self, views: Sequence[memoryview]) -> int:
        """Send what fits, within the socket's time; gives how many bytes went."""
        try:
            if hasattr(self._connection, "sendmsg"):
                return self._connection.sendmsg(views[:PIECES_AT_ONCE])
            return self._connection.send(b"".join(views))
        except (TimeoutError, BlockingIOError):
            return 0
        except OSError:
            raise EOFError from None


class _Gcm:
    """AES-GCM in one direction (RFC 5647): the cipher, and a nonce that counts the packets."""

    def __init__(self, engine: Engine, nonce: bytes) -> None:
        self._engine = engine
        self._fixed, self._counter = nonce[:4], int.from_bytes(nonce[4:], "big")
        self._packets = self._bytes = 0

    def open(self, packet: memoryview) -> bytes:
        """A packet's padding length, payload and padding; raises `SSHException` where it was tampered with."""
        try:
            return self._engine.decrypt(self._next_nonce(len(packet)), packet[4:], packet[:4])
        except InvalidTag:
            raise paramiko.SSHException("Mismatched MAC") from None

    def seal(self, header: bytes, data: bytes | memoryview, padding: bytes) -> tuple[bytes, bytes]:
        """A packet, in two pieces; `padding` holds more than enough."""
        payload_bytes = 1 + len(header) + len(data)
        padding_bytes = 4 + (-payload_bytes - 4) % BLOCK_BYTES
        size = (payload_bytes + padding_bytes).to_bytes(4, "big")
        plain = b"".join((bytes([padding_bytes]), header, data, padding[:padding_bytes]))
        return size, self._engine.encrypt(self._next_nonce(len(plain) + TAG_BYTES + 4), plain, size)

    def worn(self, limits: paramiko.packet.Packetizer) -> bool:
        """Whether these keys have served as long as they may."""
        return self._bytes >= limits.REKEY_BYTES or self._packets >= limits.REKEY_PACKETS

    def _next_nonce(self, packet_bytes: int) -> bytes:
        self._packets += 1
        self._bytes += packet_bytes
        nonce = self._fixed + self._counter.to_bytes(8, "big")
        self._counter = (self._counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
        return nonce


def _gcm(options: dict[str, Any], nonce: str) -> _Gcm | None:
    """AES-GCM's state, or `None`, also where paramiko is not as we know it: it does the work then."""
    engine, start = options.get("block_engine"), options.get(nonce)
    known = bool(options.get("aead") and engine and start) and hasattr(paramiko.packet.Packetizer, "_trigger_rekey")
    return _Gcm(cast("Engine", engine), cast("bytes", start)) if known else None


def _after(views: list[memoryview], sent: int) -> list[memoryview]:
    """What is left of `views`."""
    for number, view in enumerate(views):
        if sent < len(view):
            return [view[sent:], *views[number + 1 :]]
        sent -= len(view)
    return []
