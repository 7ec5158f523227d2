from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import log as agent_log
from launcher.agent.wire import Wire
from launcher.errors import HostUnreachable, RemoteError, TransferError
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout

BURSTS = """
for n in $(seq 300); do
    printf 'line %05d \\xff\\x00 no newline at the end: ' "$n"
    head -c $((RANDOM % 3000)) /dev/urandom
    sleep 0.002
done
echo the end >&2
exit 7
"""


def log_of(connection: Any, layout: RemoteLayout) -> bytes:
    return (connection.home / layout.log).read_bytes()


def test_the_log_comes_whole_and_the_end_after_it(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job(BURSTS))
    follower = stream.follow(lambda: connection, layout)
    got = b"".join(follower)
    assert got == log_of(connection, layout)
    assert got.endswith(b"the end\n")
    assert (follower.report.state, follower.report.exit_status) == ("done", 7)
    assert follower.report.log_bytes == len(got) == follower.offset


def test_lines_come_as_they_are_written(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("for n in 1 2 3 4 5 6 7 8; do sleep 0.15; date +%s.%N; done"))
    lags = [time.time() - float(line) for line in stream.follow(lambda: connection, layout)]
    assert len(lags) == 8
    assert sorted(lags)[4] < 0.1


def test_cut_at_random_points_the_bytes_are_the_same(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job(BURSTS))
    dice = random.Random(4)
    told: list[RemoteError] = []
    done = threading.Event()

    def cut_anywhere() -> None:
        for _ in range(5):
            if not done.wait(dice.uniform(0.1, 0.4)):
                connection.streams[-1].cut()

    cutter = threading.Thread(target=cut_anywhere)
    cutter.start()
    got = bytearray()
    cuts = 0
    try:
        for data in stream.follow(lambda: connection, layout, on_lost=told.append):
            got += data
            # Blocks on their way when the line breaks are lost with it.
            if cuts < 5 and dice.random() < 0.3:
                cuts += 1
                connection.streams[-1].cut()
    finally:
        done.set()
        cutter.join()
    assert bytes(got) == log_of(connection, layout)
    assert len(connection.streams) >= 6
    assert told


def test_a_later_launcher_goes_on_at_its_offset(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job(BURSTS))
    first = stream.follow(lambda: connection, layout)
    got = next(first)
    first.close()
    got += b"".join(stream.follow(lambda: connection, layout, offset=len(got)))
    assert got == log_of(connection, layout)


def test_following_a_job_that_ended_long_ago(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("echo hello"))
    assert list(stream.follow(lambda: connection, layout)) == [b"hello\n"]
    follower = stream.follow(lambda: connection, layout, offset=6)
    assert list(follower) == []
    assert follower.report.exit_status == 0


def test_reading_what_there_is(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Callable[..., None]
) -> None:
    remote_agent.start(connection, layout, job('seq 100000; touch "$GPURUN_OUTPUT_DIR/ready"; sleep 60'))
    eventually((connection.home / layout.output / "ready").exists)
    began = time.monotonic()
    assert stream.read(connection, layout, offset=2).startswith(b"2\n3\n")
    assert stream.read(connection, layout, offset=0) == log_of(connection, layout)
    assert time.monotonic() - began < 3


# Appends to the log; waits for a word from the test between.
TALKS = """
exec 3< words
echo number one
read -u 3 word; echo two
read -u 3 word; echo three
"""


@pytest.fixture
def say(connection: Any, layout: RemoteLayout) -> Iterator[Callable[[], None]]:
    """Lets the job `TALKS` go on to its next line."""
    code = connection.home / layout.code
    code.mkdir(parents=True)
    os.mkfifo(code / "words")
    words = os.open(code / "words", os.O_RDWR)
    yield lambda: _write(words, b"go\n")
    os.close(words)


def _write(descriptor: int, data: bytes) -> None:
    os.write(descriptor, data)


@pytest.mark.parametrize("how", ["emptied", "emptied between two launchers"])
def test_a_log_that_is_emptied_goes_on_and_it_is_told(
    connection: Any, layout: RemoteLayout, job: Any, say: Callable[[], None], how: str
) -> None:
    notices: list[str] = []

    def follower(offset: int) -> stream.Follower:
        return stream.follow(lambda: connection, layout, offset=offset, on_notice=notices.append)

    remote_agent.start(connection, layout, job(TALKS))
    present = follower(0)
    got = next(present)
    assert got == b"number one\n"
    if how != "emptied":
        present.close()
    os.truncate(connection.home / layout.log, 0)
    if how != "emptied":
        present = follower(len(got))
    say()
    got += next(present)
    assert got == b"number one\ntwo\n"
    assert notices == ["the log was emptied on the machine: what was written since follows"]
    # Another launcher goes on at the size of what is home, over an agent that was not there.
    present.close()
    present = follower(len(got))
    say()
    assert got + b"".join(present) == b"number one\ntwo\nthree\n"
    assert present.report.log_bytes == present.offset == 21
    assert len(notices) == 1


def test_what_was_emptied_before_it_came_is_told(
    connection: Any, layout: RemoteLayout, job: Any, say: Callable[[], None]
) -> None:
    remote_agent.start(connection, layout, job(TALKS))
    ahead = stream.follow(lambda: connection, layout)
    assert next(ahead) == b"number one\n"
    os.truncate(connection.home / layout.log, 0)
    say()
    assert next(ahead) == b"two\n"
    ahead.close()
    notices: list[str] = []
    behind = stream.follow(lambda: connection, layout, offset=1, on_notice=notices.append)
    say()
    assert b"".join(behind) == b"two\nthree\n"
    assert "; 10 bytes of it had not come:" in notices[0]


@pytest.mark.parametrize("replaced_by", [b"", b"something longer than what was there before\n"])
def test_a_log_that_is_replaced_is_read_on_as_it_was(
    connection: Any, layout: RemoteLayout, job: Any, say: Callable[[], None], replaced_by: bytes
) -> None:
    remote_agent.start(connection, layout, job(TALKS))
    follower = stream.follow(lambda: connection, layout)
    got = next(follower)
    log = connection.home / layout.log
    (log.parent / "other").write_bytes(replaced_by)
    (log.parent / "other").replace(log)
    say()
    say()
    assert got + b"".join(follower) == b"number one\ntwo\nthree\n"
    assert follower.report.exit_status == 0


@pytest.mark.parametrize("place", [-1, 3, 1 << 63, "4", None, True, 4.0])
def test_a_far_side_cannot_say_nonsense_of_the_logs_place(
    connection: Any, layout: RemoteLayout, monkeypatch: pytest.MonkeyPatch, place: object
) -> None:
    frame = json.dumps({"emptied_at": place}).encode()
    monkeypatch.setattr(stream, "open_session", lambda _: _Said([(b"D", b"1234"), (b"J", frame)]))
    with pytest.raises(TransferError, match="a place in the log that is none"):
        list(stream.follow(lambda: connection, layout))


class _Said:
    """What a far side says, frame by frame."""

    def __init__(self, frames: list[tuple[bytes, bytes]]) -> None:
        self.frames = frames

    def send_json(self, value: object) -> None:
        """Nobody listens."""

    def close(self) -> None:
        """Nothing is open."""

    def receive(self) -> tuple[bytes, bytes]:
        return self.frames.pop(0)


def test_a_log_of_nothing(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("exit 3"))
    follower = stream.follow(lambda: connection, layout)
    assert list(follower) == []
    assert (follower.report.exit_status, follower.report.log_bytes) == (3, 0)


def test_a_line_of_a_hundred_megabytes(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("head -c 100000000 /dev/zero; echo; head -c 1000000 /dev/urandom"))
    size, digest = 0, hashlib.sha256()
    for data in stream.follow(lambda: connection, layout):
        size += len(data)
        digest.update(data)
    assert size == 101_000_001
    assert digest.digest() == hashlib.sha256(log_of(connection, layout)).digest()


# Its second child has left the job's process group, so that nothing ends it with the job.
ORPHANS = """
mkfifo child orphan
(echo child; echo > child; while true; do echo child; done) &
setsid python3 -c '
import os, time
began = time.monotonic()
open("orphan", "w").write(chr(10))
while time.monotonic() - began < 30: os.write(1, b"orphan" * 1000 + b"\\n"); time.sleep(0.001)
' &
read begun < child
read begun < orphan
exit 9
"""


def test_children_that_go_on_writing_hold_up_nothing(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job(ORPHANS))
    began = time.monotonic()
    follower = stream.follow(lambda: connection, layout)
    got = b"".join(follower)
    assert time.monotonic() - began < 15
    assert follower.report.exit_status == 9
    assert follower.report.log_bytes == len(got)
    assert got == log_of(connection, layout)[: len(got)]
    assert b"child\n" in got
    # The log of a moment, though it still grows.
    began = time.monotonic()
    assert len(stream.read(connection, layout)) >= len(got)
    assert time.monotonic() - began < 10


def test_a_silent_line_is_left_for_another(
    connection: Any, layout: RemoteLayout, job: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote_agent.start(connection, layout, job(f"echo one; {gate.wait}; echo two"))
    told: list[RemoteError] = []

    def on_lost(error: RemoteError) -> None:
        told.append(error)
        monkeypatch.setattr(stream, "SILENCE_LIMIT_S", 15.0)

    follower = stream.follow(lambda: connection, layout, on_lost=on_lost)
    assert next(follower) == b"one\n"
    # The network falls silent: nothing is reset, nothing comes.
    connection.streams[-1].process.send_signal(signal.SIGSTOP)
    gate.open()
    monkeypatch.setattr(stream, "SILENCE_LIMIT_S", 0.5)
    assert b"".join(follower) == b"two\n"
    assert len(told) == 1


def test_the_agent_breaks_its_silence(connection: Any, layout: RemoteLayout, job: Any) -> None:
    assert agent_log.HEARTBEAT_S * 3 < stream.SILENCE_LIMIT_S
    remote_agent.start(connection, layout, job("sleep 60"))
    stop = threading.Event()
    told: list[RemoteError] = []
    began = time.monotonic()
    follower = stream.follow(lambda: connection, layout, on_lost=told.append, stop=stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "SILENCE_LIMIT_S", agent_log.HEARTBEAT_S + 1.5)
        threading.Timer(agent_log.HEARTBEAT_S + 2.5, stop.set).start()
        assert list(follower) == []
    assert time.monotonic() - began > agent_log.HEARTBEAT_S + 2
    assert told == []


def test_stop_ends_it_at_once(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("echo on; sleep 60"))
    stop = threading.Event()
    follower = stream.follow(lambda: connection, layout, stop=stop)
    assert next(follower) == b"on\n"
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    assert list(follower) == []
    assert time.monotonic() - began < 3
    assert remote_agent.report(connection, layout).state == "running"


def test_no_more_connections_is_the_end(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("echo on; sleep 60"))
    lines = iter([connection])

    def connect() -> Any:
        try:
            return next(lines)
        except StopIteration:
            raise HostUnreachable("gone for good") from None

    follower = stream.follow(connect, layout)
    assert next(follower) == b"on\n"
    connection.streams[-1].cut()
    with pytest.raises(HostUnreachable, match="gone for good"):
        next(follower)


def test_an_agent_that_cannot_serve_is_not_called_for_ever(
    connection: Any, layout: RemoteLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CUTS_LIMIT", 3)
    remote_agent.install(connection, layout)
    connection.idle.pop().close()
    for path in (connection.home / "gpurun").glob("agent-*/agent/serve.py"):
        path.write_text("import os\nos.write(1, b'gpurun-agent 1\\n')\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(HostUnreachable):
        list(stream.follow(lambda: connection, layout))


def test_following_renews_the_lease(
    connection: Any, layout: RemoteLayout, job: Any, gate: Any, eventually: Callable[..., None]
) -> None:
    remote_agent.start(connection, layout, job(f"echo on; {gate.wait}", lease_s=5.0))
    lease = connection.home / layout.home / "lease"
    first = json.loads(lease.read_text())
    follower = stream.follow(lambda: connection, layout, lease_s=900.0)
    assert next(follower) == b"on\n"
    eventually(lambda: json.loads(lease.read_text()) > first + 800)
    gate.open()
    assert b"".join(follower) == b""


def test_a_follower_leaves_no_thread_and_no_process(connection: Any, layout: RemoteLayout, job: Any) -> None:
    before = threading.active_count()
    remote_agent.start(connection, layout, job("echo a; echo b"))
    list(stream.follow(lambda: connection, layout))
    assert threading.active_count() == before
    assert connection.streams[-1].process.poll() is not None


def test_a_flood_comes_whole(connection: Any, layout: RemoteLayout, job: Any, tmp_path: Path) -> None:
    remote_agent.start(connection, layout, job("yes 'epoch 12 step 1 loss 0.12345' | head -c 30000000"))
    size = sum(len(data) for data in stream.follow(lambda: connection, layout))
    assert size == 30_000_000


def test_the_end_is_not_told_before_the_last_byte(tmp_path: Path) -> None:
    # What the job writes between the tail's last look at the log and its look at the state.
    (tmp_path / "log").write_bytes(b"last words")
    (tmp_path / "state").write_text('{"state": "done", "exit_status": 0}')
    with (tmp_path / "sent").open("wb", buffering=0) as sink:
        tail = agent_log.Tail(Wire(-1, sink.fileno()), str(tmp_path), 0)
        assert not tail.ended()
        assert tail.send_new()
        assert tail.ended()
        tail.close()
    assert b"last words" in (tmp_path / "sent").read_bytes()


def test_a_log_that_grows_with_every_look_ends_with_its_job(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"the job's own\n")
    (tmp_path / "state").write_text('{"state": "done", "exit_status": 0}')
    sent: list[bytes] = []

    class Chased(Wire):
        def send(self, kind: bytes, payload: bytes) -> None:
            sent.append(payload)
            assert len(sent) < 10
            with log.open("ab") as file:
                file.write(b"an orphan's\n")

    out, into = os.pipe()
    answer = agent_log.follow(Chased(out, -1), {"run": str(tmp_path), "offset": 0, "once": False})
    os.close(out)
    os.close(into)
    got = b"".join(sent)
    assert got.startswith(b"the job's own\n")
    assert answer["done"]["log_bytes"] == len(got)
