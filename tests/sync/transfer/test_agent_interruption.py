"""What the supervisor makes of the machine's announced end; a real metadata service says it, real signals do it."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from launcher.domain import Interruption
from launcher.errors import RemoteError
from launcher.sync import remote_agent, stream
from launcher.sync.events import CheckpointChanged, Event
from launcher.sync.layout import RemoteLayout

from .imds import ACTION, Metadata

Eventually = Callable[..., None]

JOB = """
import os, signal, sys, time
folder = os.environ["GPURUN_CHECKPOINT_DIR"]
saves = 0

def save(number, frame):
    global saves
    saves += 1
    with open(f"{folder}/c", "w") as file:
        file.write("x" * saves)
    print("saved", flush=True)

def leave(number, frame):
    print("leaving", flush=True)
    sys.exit(0)

signal.signal(signal.SIGUSR1, save)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def metadata(connection: Any) -> Iterator[Metadata]:
    """The machine's own, with a clock that is five minutes ahead of the machine's."""
    found = Metadata(ahead_s=300.0)
    server = found.serve()
    del connection.environment["AWS_EC2_METADATA_DISABLED"]
    connection.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = found.address
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def saving(job: Any) -> Callable[..., Any]:
    """A job that knows both signals."""
    return lambda **changes: job(argv=[sys.executable, "-c", JOB], **changes)


def ready(connection: Any, layout: RemoteLayout, eventually: Eventually, order: Any) -> None:
    remote_agent.start(connection, layout, order)
    eventually(lambda: stream.read(connection, layout).startswith(b"ready\n"))


def logged(connection: Any, layout: RemoteLayout) -> bytes:
    return (connection.home / layout.log).read_bytes()


def test_a_notice_asks_for_a_checkpoint_and_stops_the_job_while_it_can_save(
    connection: Any, layout: RemoteLayout, saving: Any, metadata: Metadata, eventually: Eventually
) -> None:
    ready(connection, layout, eventually, saving(stop_reserve_s=3.0))
    metadata.interrupt(12.0)
    given = time.monotonic()
    events: list[Event] = []
    follower = stream.follow(lambda: connection, layout, on_event=events.append)
    seen = [(time.monotonic() - given, data) for data in follower]
    # Told within a poll; the rest of the time is the job's, but for the reserve and the seconds that clocks are cut to.
    log = b"".join(data for _, data in seen)
    assert log == b"ready\nsaved\nleaving\n"
    left_at = seen[-1][0]
    assert 6.5 < left_at < 9.5
    report = follower.report
    assert (report.exit_status, report.ended_by) == (0, "interruption")
    (told,) = [event for event in events if isinstance(event, Interruption)]
    assert (told.kind, told.action) == ("spot", "terminate")
    assert told.ends_in_s is not None
    assert 4.0 < told.ends_in_s < 12.0
    assert report.interruption
    assert report.interruption.noticed_at == told.noticed_at
    assert report.interruption.ends_in_s is not None
    assert report.interruption.ends_in_s < told.ends_in_s - 1
    assert metadata.asked[0] == ("PUT", "/latest/api/token", 200)
    assert len(metadata.tokens) == 1


def test_a_notice_too_short_for_the_reserve_is_shared(
    connection: Any, layout: RemoteLayout, saving: Any, metadata: Metadata, eventually: Eventually
) -> None:
    metadata.interrupt(9.0)
    given = time.monotonic()
    remote_agent.start(connection, layout, saving())
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert 3.0 < time.monotonic() - given < 7.0
    assert follower.report.ended_by == "interruption"


def test_a_recommendation_asks_and_stops_nothing(
    connection: Any, layout: RemoteLayout, saving: Any, metadata: Metadata, eventually: Eventually
) -> None:
    metadata.rebalance()
    ready(connection, layout, eventually, saving())
    # The job may have learnt to catch it only after the first look: that one is not asked.
    remote_agent.ask_checkpoint(connection, layout)
    eventually(lambda: b"saved\n" in logged(connection, layout))
    eventually(lambda: remote_agent.report(connection, layout).interruption)
    report = remote_agent.report(connection, layout)
    assert report.state == "running"
    assert report.interruption
    assert (report.interruption.kind, report.interruption.ends_in_s) == ("rebalance", None)
    remote_agent.signal(connection, layout, "TERM")
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert follower.report.ended_by == "signal"


def test_the_launcher_moves_the_stop(
    connection: Any, layout: RemoteLayout, saving: Any, metadata: Metadata, eventually: Eventually
) -> None:
    metadata.interrupt(60.0)
    ready(connection, layout, eventually, saving(stop_reserve_s=55.0))
    eventually(lambda: remote_agent.report(connection, layout).interruption)
    began = time.monotonic()
    assert remote_agent.stop_in(connection, layout, 30.0).state == "running"
    assert remote_agent.stop_in(connection, layout, 4.0).state == "running"
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert 3.9 < time.monotonic() - began < 7.0
    assert (follower.report.exit_status, follower.report.ended_by) == (0, "interruption")


def test_the_launcher_cannot_move_it_beyond_the_end(
    connection: Any, layout: RemoteLayout, saving: Any, metadata: Metadata, eventually: Eventually
) -> None:
    metadata.interrupt(10.0)
    given = time.monotonic()
    ready(connection, layout, eventually, saving(stop_reserve_s=1.0))
    eventually(lambda: remote_agent.report(connection, layout).interruption)
    remote_agent.stop_in(connection, layout, 3600.0)
    list(stream.follow(lambda: connection, layout))
    assert time.monotonic() - given < 6.5


def test_signals_say_why(connection: Any, layout: RemoteLayout, saving: Any, job: Any, eventually: Eventually) -> None:
    ready(connection, layout, eventually, saving())
    remote_agent.signal(connection, layout, "TERM", why="interruption")
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert (follower.report.exit_status, follower.report.ended_by) == (0, "interruption")
    other = RemoteLayout("other")
    remote_agent.start(connection, other, job("sleep 300"))
    remote_agent.signal(connection, other, "KILL", why="interruption")
    follower = stream.follow(lambda: connection, other)
    list(follower)
    assert (follower.report.exit_status, follower.report.ended_by) == (137, "interruption")


def test_only_who_catches_the_signal_is_asked(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Eventually
) -> None:
    # A shell that does not catch it, above two programs that do, of which one has a group of its own.
    program = f"'{sys.executable}' -c '{JOB}'"
    script = f"{program} & setsid -w true; set -m; {program} & wait"
    remote_agent.start(connection, layout, job(script))
    eventually(lambda: logged(connection, layout).count(b"ready\n") == 2)
    assert remote_agent.ask_checkpoint(connection, layout) == 2
    eventually(lambda: logged(connection, layout).count(b"saved\n") == 2)
    assert remote_agent.report(connection, layout).state == "running"
    remote_agent.signal(connection, layout, "KILL")
    list(stream.follow(lambda: connection, layout))
    assert remote_agent.ask_checkpoint(connection, layout) == 0


def test_each_checkpoint_is_told_once_also_over_another_line(
    connection: Any, layout: RemoteLayout, saving: Any, eventually: Eventually
) -> None:
    ready(connection, layout, eventually, saving())
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    lost: list[RemoteError] = []
    follower = stream.follow(lambda: connection, layout, offset=6, on_event=events.put, on_lost=lost.append)
    with ThreadPoolExecutor(1) as pool:
        log = pool.submit(lambda: b"".join(follower))
        assert remote_agent.ask_checkpoint(connection, layout) == 1
        first = events.get(timeout=10)
        for line in connection.streams:
            line.cut()
        eventually(lambda: lost)
        assert remote_agent.ask_checkpoint(connection, layout) == 1
        second = events.get(timeout=10)
        remote_agent.signal(connection, layout, "TERM")
        assert log.result() == b"saved\nsaved\nleaving\n"
    assert events.empty()
    assert isinstance(first, CheckpointChanged)
    assert isinstance(second, CheckpointChanged)
    assert first.state != second.state


def test_without_a_metadata_service_a_job_runs_as_ever(
    connection: Any, layout: RemoteLayout, job: Any, metadata: Metadata
) -> None:
    connection.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:9"
    remote_agent.start(connection, layout, job("echo on; sleep 0.5"))
    follower = stream.follow(lambda: connection, layout)
    assert b"".join(follower) == b"on\n"
    assert follower.report.exit_status == 0
    assert (connection.home / layout.home / "supervisor.log").read_bytes() == b""
    assert metadata.asked == []


def test_an_expired_token_is_renewed_and_nonsense_is_no_notice(
    connection: Any, layout: RemoteLayout, saving: Any, metadata: Metadata, eventually: Eventually
) -> None:
    metadata.pages[ACTION] = '{"action": "terminate", "time": "soon"}'
    ready(connection, layout, eventually, saving())
    eventually(lambda: any(path == ACTION for _, path, _ in metadata.asked))
    assert remote_agent.report(connection, layout).interruption is None
    metadata.tokens.clear()
    metadata.tokens.add("another")
    metadata.interrupt(120.0, "stop")
    eventually(lambda: remote_agent.report(connection, layout).interruption, timeout_s=15.0)
    assert 401 in {status for _, _, status in metadata.asked}
    remote_agent.signal(connection, layout, "KILL")
