"""SFTP servers that lie: refused, and nobody waits for ever."""

from __future__ import annotations

import queue
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import HostUnreachable, RemoteError, TransferError
from launcher.ports import Completed
from launcher.sync.sftp import client as sftp_client
from launcher.sync.sftp import fallback
from launcher.sync.sftp.client import Attributes, NotSftp, Refusal, SftpClient, whole_seconds

Handler = Callable[[int, bytes], bytes]
HANDLE = struct.pack(">I1s", 1, b"h")


class Server:
    """A stream whose other end answers each request as `answer` says; an empty answer hangs up."""

    def __init__(self, answer: Handler, hello: bytes = struct.pack(">IBI", 5, 2, 3)) -> None:
        self.answer = answer
        self.hello = hello
        self.out: queue.Queue[bytes] = queue.Queue()
        self.greeted = False

    def write(self, data: bytes) -> None:
        if not self.greeted:
            self.greeted = True
            self.out.put(self.hello)
            return
        number = data[5:9]
        kind = self.answer(data[4], data[9:])
        self.out.put(struct.pack(">IB", 1 + 4 + len(kind) - 1, kind[0]) + number + kind[1:] if kind else b"")

    def read(self, size: int) -> bytes:
        return self.out.get(timeout=10)

    def close(self) -> None:
        self.out.put(b"")

    def close_input(self) -> None: ...

    def finish(self) -> Completed:
        raise NotImplementedError

    def alive(self) -> bool:
        return True


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def names(*found: bytes) -> bytes:
    rows = [text(name) + text(b"ls -l") + struct.pack(">I", 0) for name in found]
    return bytes([sftp_client.NAME]) + struct.pack(">I", len(found)) + b"".join(rows)


def status(code: int, message: bytes = b"") -> bytes:
    return bytes([sftp_client.STATUS]) + struct.pack(">I", code) + text(message) + text(b"")


def folder(*found: bytes) -> Handler:
    answers = {sftp_client.OPENDIR: [bytes([sftp_client.HANDLE]) + HANDLE], sftp_client.CLOSE: [status(0)]}
    answers[sftp_client.READDIR] = [names(*found), status(1)]
    return lambda kind, body: answers[kind].pop(0)


@pytest.mark.parametrize("name", [b"", b"a/b", b"/etc/passwd", b"../../x", b"a\0b"])
def test_a_name_that_cannot_be_one_is_refused(name: bytes) -> None:
    with SftpClient(Server(folder(b"good", name))) as client, pytest.raises(TransferError, match="which is none"):
        client.list_folder(b"there")


def test_a_folder_does_not_hold_itself() -> None:
    with SftpClient(Server(folder(b".", b"..", b"caf\xe9"))) as client:
        assert client.list_folder(b"there") == [(b"caf\xe9", Attributes(0, 0, 0))]


def test_a_folder_whose_names_come_again_and_again_has_an_end() -> None:
    opened = {sftp_client.OPENDIR: bytes([sftp_client.HANDLE]) + HANDLE, sftp_client.CLOSE: status(0)}
    server = Server(lambda kind, body: opened.get(kind, names(b"a", b"b")))
    with SftpClient(server) as client:
        assert [name for name, _ in client.list_folder(b"there")] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("deep", "name", "limit"),
    [(True, b"n" * 250, "path of more than 4096"), (False, b"n", "more than 40 names")],
    ids=["depth", "breadth"],
)
def test_a_tree_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, deep: bool, name: bytes, limit: str) -> None:
    class Endless:
        def look(self, path: bytes) -> Attributes:
            return Attributes(0o40755, 0, 0)

        def list_folder(self, path: bytes) -> list[tuple[bytes, Attributes]]:
            return [(name + bytes([97 + number]), self.look(path)) for number in range(1 if deep else 3)]

    monkeypatch.setattr(fallback, "ENTRIES_LIMIT", 40)
    with fallback.Errands(lambda: None) as errands:
        far = fallback.FarSide(client=Endless(), errands=errands, home=b"/", sums=None)  # type: ignore[arg-type]
        with pytest.raises(TransferError, match=limit):
            far.walk(b"/there")


@pytest.mark.parametrize("answers", [0, 2])
def test_a_server_that_falls_silent_is_told(monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
    monkeypatch.setattr(sftp_client, "SILENCE_LIMIT_S", 0.1)
    monkeypatch.setattr(sftp_client, "_TICK_S", 0.02)

    class Silent(Server):
        said = 0

        def write(self, data: bytes) -> None:
            self.said += 1
            if self.said <= answers:
                super().write(data)

    server = Silent(lambda kind, body: names(b"/home"))
    if not answers:
        with pytest.raises(NotSftp):
            SftpClient(server)
        return
    with SftpClient(server) as client:
        assert client.real_path(b".") == b"/home"
        with pytest.raises(HostUnreachable, match="has not answered"):
            client.real_path(b".")


def test_more_data_than_was_asked_for_is_refused() -> None:
    server = Server(lambda kind, body: bytes([sftp_client.DATA]) + text(b"x" * 11))
    with SftpClient(server) as client, pytest.raises(TransferError, match="11 bytes where 10"):
        client.data_of(client.read(b"h", 0, 10), 10)


def test_a_packet_of_gigabytes_is_refused_before_it_is_read() -> None:
    server = Server(lambda kind, body: b"")
    with SftpClient(server) as client:
        server.out.put(struct.pack(">IB", 1 << 31, sftp_client.DATA))
        with pytest.raises(TransferError, match="announced a packet of 2147483648"):
            client.real_path(b".")


def test_an_answer_that_was_not_asked_for_ends_it() -> None:
    server = Server(lambda kind, body: b"")
    with SftpClient(server) as client:
        server.out.put(struct.pack(">IBII", 9, sftp_client.STATUS, 4711, 0))
        with pytest.raises(RemoteError, match="not asked"):
            client.real_path(b".")
        with pytest.raises(RemoteError, match="not asked"):
            client.real_path(b".")


def test_whoever_waits_is_told_of_the_end() -> None:
    with SftpClient(Server(lambda kind, body: b"")) as client, pytest.raises(HostUnreachable):
        client.real_path(b".")


def test_a_refusal_says_why_and_nothing_to_the_terminal() -> None:
    with SftpClient(Server(lambda kind, body: status(3, b"Permission\x1b[2J denied\n"))) as client:
        with pytest.raises(Refusal) as caught:
            client.done(client.remove(b"x"))
        assert (caught.value.code, str(caught.value)) == (3, "Permission\\x1b[2J denied")


@pytest.mark.parametrize("hello", [b"", b"bash: sftp-server: not found\n" * 99, struct.pack(">IBI", 5, 101, 3)])
def test_what_does_not_speak_sftp_is_told(hello: bytes) -> None:
    with pytest.raises(NotSftp):
        SftpClient(Server(lambda kind, body: b"", hello))


@given(st.integers(101, 105), st.binary(max_size=80))
def test_rubbish_is_refused(kind: int, rubbish: bytes) -> None:
    for ask in (
        lambda client: client.real_path(b"."),
        lambda client: client.look(b"x"),
        lambda client: client.list_folder(b"x"),
        lambda client: client.data_of(client.read(b"h", 0, 20), 20),
        lambda client: client.done(client.remove(b"x")),
    ):
        # A folder whose names never end would be read for ever: the second answer hangs up.
        answers = [bytes([kind]) + rubbish] * 2
        with SftpClient(Server(lambda kind, body, rest=answers: rest.pop() if rest else b"")) as client:
            try:
                ask(client)
            except (RemoteError, Refusal):
                continue


@pytest.mark.parametrize(("mtime_ns", "seconds"), [(1_999_999_999, 1), (-5, 0), (1 << 63, (1 << 32) - 1)])
def test_times_are_whole_seconds_within_bounds(mtime_ns: int, seconds: int) -> None:
    assert whole_seconds(mtime_ns) == seconds
