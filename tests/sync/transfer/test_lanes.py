"""Work carried over several connections: all of it, once, whatever breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.agent.parcels import NUMBER
from launcher.errors import CommandFailed, HostUnreachable, TransferError
from launcher.sync.wire import lanes as lanes_module
from launcher.sync.wire.backlog import WAITING_LIMIT, Backlog, Cancelled
from launcher.sync.wire.frames import Wire
from launcher.sync.wire.growth import LANE_WINDOW_BYTES, NEAR_WINDOW_BYTES
from launcher.sync.wire.lanes import LOST_SHARE, SMALL_BYTES, Lanes
from launcher.sync.wire.lines import FAR_LINES
from launcher.sync.wire.session import session

from .false_agent import Stream, answer, frame, request_in

MIB = 1 << 20


@dataclass(frozen=True)
class Piece:
    """`lanes.Work` of any size, which on the line is nothing but its name."""

    name: str
    size_bytes: int = 1

    def send(self, wire: Wire, number: int) -> None:
        wire.send(b"P", NUMBER.pack(number) + self.name.encode())


class Answers(Stream):
    """A channel of a machine that may hold its answers back."""

    def __init__(self, far: Far) -> None:
        super().__init__(far.hear)
        self.held: list[bytes] = []

    def release(self) -> None:
        with self.changed:
            self.say(b"".join(self.held))
            self.held.clear()


class Connection:
    """One of the machine's."""

    def __init__(self, far: Far) -> None:
        self.far = far
        self.idle: list[Any] = []

    def open(self, command: str) -> Answers:
        stream = Answers(self.far)
        self.far.streams.append(stream)
        return stream


class Line:
    """Dials a machine, if it lets itself be dialled."""

    def __init__(self, far: Far) -> None:
        self.far = far
        self.connection = Connection(far)

    def fresh(self, timeout_s: float) -> Connection:
        if self.far.unreachable:
            raise HostUnreachable("no route")
        return self.connection


class Far:
    """`ports.Lines` to a machine that answers each piece with its name, and is cut after so many of them each time."""

    def __init__(self, cuts: list[int] | None = None, rtt_s: float = 0.0) -> None:
        self.rtt_s = rtt_s
        self.control = Line(self)
        self.bulks: dict[int, Line] = {}
        self.streams: list[Answers] = []
        self.requests: list[Any] = []
        self.pieces: list[str] = []
        self.reply: Callable[[bytes, bytes], bytes] = lambda number, name: frame(b"A", number + name)
        self.unreachable = self.holds = self.loses_answers = self.is_killed = False
        self._cuts = cuts or []
        self._lock = threading.Lock()

    def bulk(self, number: int) -> Line:
        return self.bulks.setdefault(number, Line(self))

    def hear(self, stream: Answers, kind: bytes, payload: bytes) -> None:
        if kind == b"J":
            request = request_in(kind, payload)
            self.requests.append(request)
            if request.get("op") != "take":
                stream.say(answer({}))
            return
        self.pieces.append(payload[NUMBER.size :].decode())
        said = self.reply(payload[: NUMBER.size], payload[NUMBER.size :])
        if self.holds:
            stream.held.append(said)
        else:
            stream.say(said)
        if self.cut_now():
            error = CommandFailed("killed") if self.is_killed else HostUnreachable("cut")
            stream.hang_up(error, loses_answers=self.loses_answers)

    def cut_now(self) -> bool:
        with self._lock:
            if not self._cuts:
                return False
            self._cuts[0] -= 1
            return self._cuts[0] <= 0 and self._cuts.pop(0) <= 0


class Transfer:
    """Lanes to a machine, fed by a thread."""

    def __init__(self, far: Far, pieces: list[Piece], total_bytes: int = 0) -> None:
        self.came: list[str] = []
        self.pieces = pieces
        self.lanes = Lanes(
            far,  # type: ignore[arg-type]
            request={"op": "take"},
            on_reply=self.on_reply,
            total_bytes=total_bytes or sum(piece.size_bytes for piece in pieces),
        )
        self.cancelled = threading.Event()
        self.thread = threading.Thread(target=self.feed)

    def on_reply(self, work: Any, kind: bytes, payload: Any) -> None:
        if kind != b"A" or bytes(payload).decode() != work.name:
            raise TransferError(f"{kind!r} for {work.name}")
        self.came.append(work.name)

    def feed(self) -> None:
        try:
            for piece in self.pieces:
                self.lanes.put(piece)
        except Cancelled:
            self.cancelled.set()
        self.lanes.close()

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        self.thread.start()
        try:
            self.lanes.run(tick)
        finally:
            self.thread.join()


def names(count: int) -> list[str]:
    return [f"{number:03}" for number in range(count)]


def pieces(count: int, size_bytes: int = 1) -> list[Piece]:
    return [Piece(name, size_bytes) for name in names(count)]


def no_threads_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("gpurun-lane")]


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(0, 60),
    cuts=st.lists(st.integers(1, 12), max_size=8),
    rtt_s=st.sampled_from([0.0, 0.04]),
    loses_answers=st.booleans(),
)
def test_every_piece_comes_once_whatever_breaks(count: int, cuts: list[int], rtt_s: float, loses_answers: bool) -> None:
    far = Far(cuts=list(cuts), rtt_s=rtt_s)
    far.loses_answers = loses_answers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes_module, "FIRST_REST_S", 0.0)
        transfer = Transfer(far, pieces(count), total_bytes=64 * MIB)
        transfer.run()
    assert sorted(transfer.came) == names(count)
    assert set(far.pieces) == set(names(count))
    assert transfer.lanes.carried_bytes == count
    assert transfer.lanes.cuts <= len(cuts)
    assert transfer.lanes.ended
    assert no_threads_left()


@pytest.mark.parametrize(
    ("rtt_s", "total_bytes", "connections"),
    [(0.0, 64 * MIB, 1), (0.04, 64 * MIB, 1 + FAR_LINES), (0.04, SMALL_BYTES, 1), (0.04, 12 * MIB, 2)],
    ids=["near", "far", "far, little", "far, not much"],
)
def test_as_many_lanes_as_the_way_is_long(rtt_s: float, total_bytes: int, connections: int) -> None:
    far = Far(rtt_s=rtt_s)
    transfer = Transfer(far, pieces(10), total_bytes=total_bytes)
    transfer.run()
    assert 1 + len(far.bulks) == connections


def test_what_can_be_lost_is_limited() -> None:
    far = Far()
    far.holds = True
    piece_bytes = NEAR_WINDOW_BYTES // 4
    transfer = Transfer(far, pieces(40, piece_bytes), total_bytes=100 * MIB)
    seen = []

    def tick() -> None:
        seen.append(len(far.streams[0].held))
        if len(seen) == 2:
            far.holds = False
            for stream in far.streams:
                stream.release()

    transfer.run(tick)
    assert seen[:2] == [4, 4]
    assert sorted(transfer.came) == names(40)


def test_after_cuts_less_is_risked() -> None:
    transfer = Transfer(Far(rtt_s=0.04), [], total_bytes=1024 * MIB)
    lanes = transfer.lanes
    assert lanes.window_bytes == NEAR_WINDOW_BYTES
    lost_bytes, cuts = 0, 0
    while lanes.window_bytes > 256 << 10:
        lost_bytes += lanes.window_bytes
        lanes.count_sent(0, lanes.window_bytes)
        cuts += 1
        assert lanes.window_bytes <= LANE_WINDOW_BYTES
    assert cuts > 20
    assert lost_bytes < LOST_SHARE * 1024 * MIB


def test_a_line_that_stays_dead_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "REDIAL_S", 0.1)
    far = Far()
    far.unreachable = True
    transfer = Transfer(far, pieces(100))
    with pytest.raises(HostUnreachable, match="no route"):
        transfer.run()
    assert transfer.lanes.cuts == 0, "it is given up at the first time that no line was found for so long"
    assert transfer.cancelled.is_set()


def test_a_machine_that_hangs_up_at_once_each_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "CUTS_LIMIT", 4)
    far = Far(cuts=[1] * 1000)
    far.loses_answers = True
    transfer = Transfer(far, pieces(100))
    with pytest.raises(HostUnreachable, match="cut"):
        transfer.run()
    assert transfer.lanes.cuts == 3
    assert len(far.streams) == 4


def test_an_agent_that_is_killed_is_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "FIRST_REST_S", 0.0)
    far = Far(cuts=[3, 5])
    far.is_killed = True
    transfer = Transfer(far, pieces(40), total_bytes=64 * MIB)
    transfer.run()
    assert sorted(transfer.came) == names(40)
    assert transfer.lanes.cuts == 2


def test_an_idle_channel_that_another_thread_took_is_none() -> None:
    class Emptied(list[Any]):
        def __bool__(self) -> bool:
            return True

    connection = Connection(Far())
    connection.idle = Emptied()
    with session(connection) as wire:  # type: ignore[arg-type]
        assert wire.stream is connection.far.streams[0]


def test_one_lane_s_end_is_not_that_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "REDIAL_S", 0.0)
    far = Far(rtt_s=0.04)
    dead = Far()
    dead.unreachable = True
    far.bulks[0] = Line(dead)
    transfer = Transfer(far, pieces(50), total_bytes=64 * MIB)
    transfer.run()
    assert sorted(transfer.came) == names(50)


@pytest.mark.parametrize(
    "reply",
    [
        lambda number, name: frame(b"N", number + name),
        lambda number, name: frame(b"A", number),
        lambda number, name: frame(b"A", b"\xff" * 4 + name),
        lambda number, name: frame(b"A", number + name) * 2,
        lambda number, name: frame(b"A", b""),
        lambda number, name: frame(b"J", b"{}"),
        lambda number, name: frame(b"J", b'{"error": {"message": "on fire"}}'),
        lambda number, name: frame(b"J", b"{"),
    ],
    ids=["refused", "other content", "other number", "twice", "no number", "the end", "an error", "no JSON"],
)
def test_a_wrong_answer_ends_it_all(reply: Callable[[bytes, bytes], bytes]) -> None:
    far = Far(rtt_s=0.04)
    far.reply = reply
    transfer = Transfer(far, pieces(100), total_bytes=64 * MIB)
    with pytest.raises(TransferError):
        transfer.run()
    assert transfer.lanes.ended
    assert no_threads_left()


def test_an_interrupt_ends_all_threads() -> None:
    far = Far(rtt_s=0.04)
    far.holds = True
    transfer = Transfer(far, pieces(100), total_bytes=64 * MIB)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer.run(interrupt)
    assert transfer.lanes.ended
    assert no_threads_left()


def test_whoever_makes_the_work_waits_and_follow_up_work_does_not() -> None:
    far = Far()
    lanes = Lanes(far, request={"op": "take"}, on_reply=lambda *_: None, total_bytes=1)  # type: ignore[arg-type]
    for piece in pieces(WAITING_LIMIT):
        lanes.put(piece)
    waited = threading.Thread(target=lanes.put, args=[Piece("one too many")])
    waited.start()
    lanes.put_first(Piece("first"))
    assert lanes.waiting == WAITING_LIMIT + 1
    assert waited.is_alive()

    def close() -> None:
        waited.join()
        lanes.close()

    closing = threading.Thread(target=close)
    closing.start()
    lanes.run(lambda: None)
    closing.join()
    assert far.pieces[0] == "first"
    assert far.pieces[-1] == "one too many"


def test_a_piece_does_not_wait_for_a_lane_that_broke(eventually: Callable[[Callable[[], bool]], None]) -> None:
    backlog: Backlog[str] = Backlog()
    broken = threading.Event()
    taken: list[str | None] = []
    first = threading.Thread(target=lambda: taken.append(backlog.take(broken)), daemon=True)
    second = threading.Thread(target=lambda: taken.append(backlog.take(threading.Event())), daemon=True)
    waiters = backlog._work._waiters  # type: ignore[attr-defined]
    for thread in (first, second):
        ahead = len(waiters)
        thread.start()
        eventually(lambda ahead=ahead: len(waiters) == ahead + 1)  # type: ignore[misc]
    broken.set()
    backlog.put("piece")
    for thread in (first, second):
        thread.join(10)
    assert taken == [None, "piece"]
    assert not second.is_alive()


def test_a_session_that_was_kept_is_used() -> None:
    far = Far()
    for _ in range(3):
        Transfer(far, pieces(3)).run()
    assert len(far.streams) == 1
    assert [request for request in far.requests if "end" in request] == [{"end": True}] * 3
