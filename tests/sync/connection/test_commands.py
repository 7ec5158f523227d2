"""Commands and streams over a connection to a real OpenSSH server on loopback."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from launcher.errors import CommandFailed, RemoteError

from .connecting import connected


def test_a_command_gives_status_output_and_errors_apart(sshd) -> None:
    with connected(sshd) as connection:
        done = connection.run("cat; echo wrong >&2; exit 3", stdin=b"in\0put")
    assert (done.status, done.stdout, done.stderr) == (3, b"in\0put", b"wrong\n")


def test_a_command_that_a_signal_ends_gives_255_as_ssh_does(sshd) -> None:
    with connected(sshd) as connection:
        assert connection.run("kill -9 $$").status == 255
        assert connection.run("exit 0").status == 0


def test_bytes_of_a_name_that_is_not_utf8_reach_the_command(sshd) -> None:
    with connected(sshd) as connection:
        assert connection.run("printf %s 'a\udcff'").stdout == b"a\xff"


def test_more_input_and_output_than_any_window_does_not_lock_up(sshd) -> None:
    data = os.urandom(9_000_000)
    with connected(sshd) as connection:
        done = connection.run("cat; cat /dev/null", stdin=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_flood_of_errors_does_not_hold_up_the_output_and_its_end_is_kept(sshd) -> None:
    with connected(sshd) as connection:
        done = connection.run("head -c 9000000 /dev/zero >&2; echo last >&2; echo out")
    assert done.stdout == b"out\n"
    assert len(done.stderr) == 1 << 16
    assert done.stderr.endswith(b"last\n")


def test_a_command_that_does_not_end_in_time_is_dropped(sshd) -> None:
    with connected(sshd) as connection:
        with pytest.raises(CommandFailed, match="did not end in time") as caught:
            connection.run("exec sleep 600", timeout_s=1)
        assert caught.value.status == 124
        assert connection.run("echo still here").stdout == b"still here\n"


def test_a_command_that_reads_nothing_of_a_large_input_still_gives_its_status(sshd) -> None:
    with connected(sshd) as connection:
        assert connection.run("exit 7", stdin=bytes(20_000_000)).status == 7


def test_a_stream_is_a_conversation_with_a_half_close(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("while read line; do echo got $line; done; echo end")
        stream.write(b"one\n")
        assert stream.read(100) == b"got one\n"
        stream.write(b"two\n")
        assert stream.read(100) == b"got two\n"
        stream.close_input()
        done = stream.finish()
    assert (done.status, done.stdout) == (0, b"end\n")


def test_the_end_of_output_reads_as_empty(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("echo x")
        assert stream.read(10) == b"x\n"
        assert stream.read(10) == b""
        assert stream.read(10) == b""


def test_writing_to_a_command_that_has_ended_says_so_with_its_last_words(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("echo no thanks >&2; exit 9")
        with pytest.raises(CommandFailed) as caught:
            stream.write(bytes(100_000_000))
    assert caught.value.status == 9
    assert caught.value.stderr == "no thanks\n"


def test_writing_after_the_input_was_closed_is_a_mistake(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("cat")
        stream.close_input()
        with pytest.raises(ValueError, match="closed"):
            stream.write(b"x")


def test_dropping_a_stream_ends_its_command(sshd, tmp_path: Path, eventually) -> None:
    with connected(sshd) as connection:
        stream = connection.open(f"cat; touch {tmp_path}/ended")
        stream.close()
        eventually((tmp_path / "ended").exists)
        assert connection.alive()


def test_many_streams_share_a_connection_from_many_threads(sshd) -> None:
    blobs = [os.urandom(700_000 + i) for i in range(6)]
    results: dict[int, bytes] = {}

    def exchange(number: int) -> None:
        results[number] = connection.run("cat", stdin=blobs[number]).stdout

    with connected(sshd) as connection:
        threads = [threading.Thread(target=exchange, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [results[i] for i in range(6)] == blobs


def test_more_sessions_than_the_server_allows_are_refused_in_words(make_sshd) -> None:
    sshd = make_sshd("MaxSessions 2")
    sshd.start()
    with connected(sshd) as connection:
        streams = [connection.open("cat") for _ in range(2)]
        with pytest.raises(RemoteError, match="no further session"):
            connection.open("cat")
        streams[0].close_input()
        assert streams[0].finish().status == 0


def test_the_line_uses_aes_gcm_and_does_not_rekey_early(sshd) -> None:
    with connected(sshd) as connection:
        transport = connection._secured.transport
        assert "gcm" in transport.remote_cipher
        assert transport.packetizer.REKEY_BYTES == 1 << 36
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_without_gcm_is_served_too_and_rekeys_as_usual(make_sshd) -> None:
    sshd = make_sshd("Ciphers aes256-ctr")
    sshd.start()
    with connected(sshd) as connection:
        assert connection.run("cat", stdin=bytes(100_000)).stdout == bytes(100_000)
        assert connection._secured.transport.packetizer.REKEY_BYTES < 1 << 36
