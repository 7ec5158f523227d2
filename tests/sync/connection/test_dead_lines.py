"""Lines that die are noticed, and slow ones are not taken for dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil
import pytest

from launcher.errors import HostUnreachable
from launcher.sync.ssh import watch
from launcher.sync.ssh.connection import Line

from .connecting import TIMEOUT_S, connected
from .relay import Relay


def test_a_killed_server_wakes_everyone(sshd) -> None:
    line = Line(sshd.endpoint())
    connection = line.current()
    stream = connection.open("cat")
    caught: list[Exception] = []

    def read() -> None:
        try:
            stream.read(10)
        except HostUnreachable as error:
            caught.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    sshd.stop()
    reader.join(5)
    assert [type(e) for e in caught] == [HostUnreachable]
    with pytest.raises(HostUnreachable):
        stream.write(bytes(1_000_000))
    with pytest.raises(HostUnreachable):
        stream.finish()
    with pytest.raises(HostUnreachable):
        connection.run("true")
    assert not connection.alive()
    sshd.start()
    assert line.fresh(TIMEOUT_S).run("echo again").stdout == b"again\n"
    assert line.current() is not connection
    assert line.fresh(TIMEOUT_S) is line.current()
    line.close()
    line.close()


def test_a_line_keeps_its_connection_until_it_is_closed(sshd) -> None:
    line = Line(sshd.endpoint())
    connection = line.current()
    assert line.current() is connection
    assert line.fresh(1) is connection
    line.close()
    assert not connection.alive()


def suspended(process: psutil.Process) -> bool:
    """Stop a process; one of the account's start-up commands may have ended since it was listed."""
    try:
        process.suspend()
    except psutil.NoSuchProcess:
        return False
    return True


@pytest.mark.slow
def test_a_frozen_server_is_noticed_within_15_s_by_readers_writers_and_idlers(sshd) -> None:
    """Its kernel still acknowledges; only an answer that does not come can tell."""
    reading, writing, idle = connected(sshd), connected(sshd), connected(sshd)
    reader, writer = reading.open("cat"), writing.open("exec sleep 600")
    failures: dict[str, float] = {}

    def fails(name: str, call: Callable[[], object]) -> None:
        with pytest.raises(HostUnreachable, match="stopped answering"):
            call()
        failures[name] = time.monotonic()

    frozen = [process for process in sshd.processes() if suspended(process)]
    started = time.monotonic()
    try:
        threads = [
            threading.Thread(target=fails, args=("reader", lambda: reader.read(1))),
            threading.Thread(target=fails, args=("writer", lambda: writer.write(bytes(100_000_000)))),
        ]
        for thread in threads:
            thread.start()
        while idle.alive() and time.monotonic() < started + 20:
            time.sleep(0.05)  # a line that nobody reads or writes tells only whoever asks
        failures["idle"] = time.monotonic()
        for thread in threads:
            thread.join(20)
    finally:
        for process in frozen:
            process.resume()
    assert set(failures) == {"reader", "writer", "idle"}
    assert max(failures.values()) - started < 15
    for connection in (reading, writing, idle):
        connection.close()


@pytest.fixture
def hasty_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TICK_S", 0.1)
    monkeypatch.setattr(watch, "PING_AFTER_S", 0.4)
    monkeypatch.setattr(watch, "READ_DEADLINE_S", 1.2)


@pytest.mark.usefixtures("hasty_watch")
def test_an_idle_line_that_answers_stays_up(sshd) -> None:
    with connected(sshd) as connection:
        stream = connection.open("read x; echo $x")
        time.sleep(3)  # longer than the deadline for an answer, twice
        stream.write(b"still\n")
        assert stream.finish().stdout == b"still\n"


@pytest.mark.usefixtures("hasty_watch")
def test_a_cut_network_is_noticed_and_a_new_line_goes_on(sshd) -> None:
    with Relay(sshd.port) as relay:
        line = Line(sshd.endpoint(port=relay.port))
        first = line.current()
        stream = first.open("cat")
        relay.cut.set()
        with pytest.raises(HostUnreachable, match="stopped answering"):
            stream.read(1)
        relay.cut.clear()
        assert line.fresh(TIMEOUT_S).run("echo again").stdout == b"again\n"
        assert line.current() is not first
        line.close()


@pytest.mark.usefixtures("hasty_watch")
def test_a_slow_upload_is_no_dead_line(sshd) -> None:
    """The answers wait behind what is still to be sent; that it moves is answer enough."""
    with Relay(sshd.port, bytes_per_s=40_000) as relay, connected(sshd, port=relay.port) as connection:
        stream = connection.open("wc -c")
        stream.write(bytes(200_000))
        assert stream.finish().stdout.strip() == b"200000"
