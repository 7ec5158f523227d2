"""Our packet layer against paramiko's own, byte for byte, and on a real line."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import paramiko
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from paramiko.buffered_pipe import PipeTimeout
from paramiko.packet import Packetizer

from launcher.sync.ssh import outbox, transport
from launcher.sync.ssh.connection import connect
from launcher.sync.ssh.inbox import Inbox
from launcher.sync.ssh.packets import PACKET_LIMIT_BYTES, Burst, Packets

KEY, NONCE = bytes(range(16)), bytes(range(4)) + b"\0\0\0\0\xff\xff\xff\xfe"
TIMEOUT_S = 20.0


def sealing(packetizer: Packetizer) -> Packetizer:
    """With AES-GCM both ways, as after a handshake."""
    packetizer.set_outbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_out=NONCE, etm=False)
    packetizer.set_inbound_cipher(
        block_engine=AESGCM(KEY), block_size=16, mac_engine=None, mac_size=16, mac_key=None, aead=True, iv_in=NONCE
    )
    return packetizer


def ours(connection: socket.socket) -> Packets:
    packets = Packets(connection)
    packets.set_outbound_cipher(
        block_engine=AESGCM(KEY), block_size=16, mac_engine=None, mac_size=16, mac_key=None, aead=True, iv_out=NONCE
    )
    packets.set_inbound_cipher(
        block_engine=AESGCM(KEY), block_size=16, mac_engine=None, mac_size=16, mac_key=None, aead=True, iv_in=NONCE
    )
    assert packets._inbound
    assert packets._outbound
    return packets


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(5)
        right.settimeout(5)
        yield left, right


messages = st.lists(st.binary(min_size=1, max_size=70_000).filter(lambda data: data[0] != 94), max_size=8)


@given(messages, st.booleans())
def test_paramiko_understands_us_and_we_it(sent: list[bytes], we_send: bool) -> None:
    with pair() as (left, right):
        sender = ours(left) if we_send else sealing(Packetizer(left))
        receiver = sealing(Packetizer(right)) if we_send else ours(right)

        def send() -> None:
            for data in sent:
                sender.send_message(paramiko.Message(data))

        thread = threading.Thread(target=send)
        thread.start()
        came = [receiver.read_message() for _ in sent]
        thread.join()
    assert [bytes([number]) + message.asbytes() for number, message in came] == sent
    assert [message.seqno for _, message in came] == list(range(len(sent)))


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=12), st.integers(1, 5))
def test_data_goes_to_its_channel_and_the_rest_to_paramiko(sizes: list[int], every: int) -> None:
    with pair() as (left, right):
        sender, receiver, inbox = ours(left), ours(right), Inbox()
        receiver.route(7, inbox)
        blocks = [bytes([number]) * size for number, size in enumerate(sizes)]

        def send() -> None:
            for number, block in enumerate(blocks):
                sender.send_message(paramiko.Message(struct.pack(">BII", 94, 7, len(block)) + block))
                if number % every == 0:
                    sender.send_message(paramiko.Message(struct.pack(">BII", 94, 8, len(block)) + block))
            sender.send_message(paramiko.Message(b"\x02end"))

        thread = threading.Thread(target=send)
        thread.start()
        others = []
        while (came := receiver.read_message())[0] != 2:
            others.append(came)
        thread.join()
    assert inbox.empty() == b"".join(blocks)
    assert [number for number, _ in others] == [94] * len(blocks[::every])
    for (_, message), block in zip(others, blocks[::every], strict=True):
        assert (message.get_int(), message.get_binary()) == (8, block)


class Tape:
    """A channel through a jump host, as far as the packet layer can tell; reads give `step` bytes at most."""

    def __init__(self, step: int) -> None:
        self.written = bytearray()
        self._step = step
        self._at = 0

    def send(self, data: bytes) -> int:
        self.written += data[:50_000]
        return min(len(data), 50_000)

    def recv(self, size: int) -> bytes:
        data = bytes(self.written[self._at : self._at + min(size, self._step)])
        self._at += len(data)
        return data


@pytest.mark.parametrize("step", [7, 4099, 200_003, 1 << 20])
def test_more_than_the_buffer_holds_comes_whole_wherever_the_packets_fall(step: int) -> None:
    blocks = [bytes([number]) * (33_000 + 77 * number) for number in range(60)]
    tape, inbox = Tape(step), Inbox()
    sender, receiver = ours(tape), ours(tape)
    receiver.route(7, inbox)
    channel = SimpleNamespace(lock=threading.Lock(), closed=False, eof_sent=False, remote_chanid=7)
    for start in range(0, len(blocks), 5):
        sender.send_message(Burst(channel, [memoryview(block) for block in blocks[start : start + 5]]))
    sender.send_message(paramiko.Message(b"\x02end"))
    assert receiver.read_message()[0] == 2
    assert inbox.empty() == b"".join(blocks)


def test_a_packet_that_was_tampered_with_is_refused() -> None:
    with pair() as (left, right):
        ours(left).send_message(paramiko.Message(b"\x02hello"))
        packet = bytearray(right.recv(1000))
        packet[8] ^= 1
        left.sendall(packet)
        with pytest.raises(paramiko.SSHException, match="MAC"):
            ours(right).read_message()


@pytest.mark.parametrize("size", [0, 15, PACKET_LIMIT_BYTES + 1, 0xFFFF_FFFF])
def test_a_packet_of_an_absurd_size_is_refused_at_once(size: int) -> None:
    with pair() as (left, right):
        left.sendall(struct.pack(">I", size) + bytes(40))
        with pytest.raises(paramiko.SSHException, match=f"packet of {size} bytes"):
            ours(right).read_message()


def test_a_packet_that_is_all_padding_is_refused() -> None:
    with pair() as (left, right):
        head = struct.pack(">I", 16)
        left.sendall(head + AESGCM(KEY).encrypt(NONCE, b"\x0f" + bytes(15), head))
        with pytest.raises(paramiko.SSHException, match="padding"):
            ours(right).read_message()


def test_a_greeting_line_leaves_what_follows_it() -> None:
    with pair() as (left, right):
        left.sendall(b"welcome\r\nSSH-2.0-x\r\nrest")
        packets = Packets(right)
        assert [packets.readline(1), packets.readline(1), packets.read_all(4)] == ["welcome", "SSH-2.0-x", b"rest"]
        right.settimeout(0.01)
        with pytest.raises(TimeoutError):
            packets.readline(0.05)
        left.close()
        with pytest.raises(EOFError):
            packets.read_all(1)


def test_both_ends_of_a_rekey_limit_ask_for_new_keys() -> None:
    with pair() as (left, right):
        sender, receiver = ours(left), ours(right)
        sender.REKEY_BYTES = receiver.REKEY_BYTES = 1000
        sender.send_message(paramiko.Message(b"\x02" + bytes(900)))
        receiver.read_message()
        assert not sender.need_rekey()
        assert not receiver.need_rekey()
        sender.send_message(paramiko.Message(b"\x02" + bytes(900)))
        receiver.read_message()
        assert sender.need_rekey()
        assert receiver.need_rekey()


# -- what comes in


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(1, 30)))
def test_an_inbox_gives_what_it_was_fed_in_pieces_of_at_most_the_size_asked(fed: list[bytes], asked: list[int]) -> None:
    inbox = Inbox()
    for data in fed:
        inbox.feed(data)
    total = b"".join(fed)
    assert len(inbox) == len(total)
    for size in asked:
        if not inbox.read_ready():
            break
        data = inbox.read(size, 0.0)
        assert data == total[:size]
        total = total[size:]
    assert inbox.empty() == total
    with pytest.raises(PipeTimeout):
        inbox.read(1, 0.0)
    inbox.close()
    assert inbox.read(1, 0.0) == b""


def test_an_inbox_keeps_its_signal_true() -> None:
    inbox, signal = Inbox(), threading.Event()
    inbox.feed(b"ab")
    inbox.set_event(signal)
    assert signal.is_set()
    inbox.read(1)
    assert signal.is_set()
    inbox.read(1)
    assert not signal.is_set()
    inbox.close()
    assert signal.is_set()


# -- on a real line


def test_paramiko_is_as_we_know_it(sshd) -> None:
    """Each of these names is leaned on; where one goes, slower ways are taken in silence: this is the alarm."""
    assert outbox.BURSTS
    assert transport.HOLDS_BACK
    assert hasattr(Packetizer, "_trigger_rekey")
    with connect(sshd.endpoint(), timeout_s=TIMEOUT_S) as connection:
        line = connection._secured.transport
        assert line.packets._inbound
        assert line.packets._outbound
        assert {"clear_to_send", "clear_to_send_timeout", "initial_kex_done"} <= set(vars(line))
        assert line._handler_table[21] == line._parse_newkeys
        stream = connection.open("cat")
        channel = stream._channel
        assert isinstance(channel.in_buffer, Inbox)
        fed: list[object] = []
        channel._feed = fed.append
        stream.write(b"through")
        assert stream.read(7) == b"through"
        assert not fed, "data takes the short way"
        wanted = {"lock", "closed", "eof_sent", "out_window_size", "out_max_packet_size", "out_buffer_cv", "timeout"}
        assert wanted <= set(vars(channel))


@pytest.mark.parametrize("missing", ["bursts", "gcm"])
def test_a_paramiko_that_is_not_as_we_know_it_still_serves(sshd, monkeypatch: pytest.MonkeyPatch, missing) -> None:
    if missing == "bursts":
        monkeypatch.setattr(outbox, "BURSTS", False)
        monkeypatch.setattr(transport, "HOLDS_BACK", False)
    else:
        monkeypatch.setattr("launcher.sync.ssh.packets._gcm", lambda *_: None)
    data = bytes(range(256)) * 20_000
    with connect(sshd.endpoint(), timeout_s=TIMEOUT_S) as connection:
        done = connection.run("cat; exit 4", stdin=data)
    assert (done.status, done.stdout == data) == (4, True)


def test_data_that_is_late_for_its_channel_does_not_end_the_connection(sshd, eventually) -> None:
    """sshd hangs up over data for a channel that it has forgotten."""
    with connect(sshd.endpoint(), timeout_s=TIMEOUT_S) as connection:
        witness, stream = connection.open("cat"), connection.open("exit 0")
        channel = stream._channel
        assert stream.finish().status == 0
        # Until sshd's own end has come.
        eventually(lambda: not connection._secured.transport._channels.get(channel.chanid))
        witness.write(b"one")
        assert witness.read(3) == b"one", "by now it has seen ours, too"
        connection._secured.transport.post(Burst(channel, [memoryview(b"late")], last=True))
        witness.write(b"two")
        assert witness.read(3) == b"two"


def test_a_window_that_opens_in_small_steps_is_not_filled_with_small_packets(sshd, monkeypatch) -> None:
    sizes: list[int] = []
    with connect(sshd.endpoint(), timeout_s=TIMEOUT_S) as connection:
        line = connection._secured.transport
        post = line.post

        def noted(burst: Burst) -> None:
            sizes.extend(len(piece) for _, piece in burst.payloads() if piece)
            post(burst)

        line.post = noted
        stream = connection.open("wc -c")
        for _ in range(40):
            stream.write(bytes(1 << 20))
        assert stream.finish().stdout.split() == [b"%d" % (40 << 20)]
    assert sum(sizes) == 40 << 20
    assert sum(size < 1000 for size in sizes) < len(sizes) / 20
