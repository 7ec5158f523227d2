"""Work carried over as many bulk connections as pay: a lane that dies is replaced, its unanswered work done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from launcher.agent.parcels import NUMBER
from launcher.errors import CommandFailed, HostUnreachable, TransferError
from launcher.ports import Connection, Line, Lines
from launcher.sync.wire.backlog import Backlog
from launcher.sync.wire.frames import JSON_KINDS, Json, Wire, parse
from launcher.sync.wire.growth import Growth
from launcher.sync.wire.lines import FAR_LINES
from launcher.sync.wire.session import ask, session

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

SMALL_BYTES = 4 << 20
"""So little goes over one connection, whatever the distance."""
REDIAL_S = 30.0
MEASURED_AGAIN = 3
"""Cuts that the round trip's measurement survives; the lanes themselves tell of a line that stays dead."""
FIRST_REST_S = 0.02
"""After a cut; twice as long after each further one that nothing was answered between."""
PAUSE_S = 0.1
"""Between two attempts: a machine may refuse at once."""
DIAL_S = 3.0
"""Of one attempt, between which it looks whether there is still something to do."""
FIRST_SHARE_BYTES = 8 << 20
"""Of a first lane at least."""
TICK_S = 0.1
CUTS_LIMIT = 25
"""Cuts of one lane with nothing answered between them: the machine cannot serve there."""


LOST_SHARE = 0.06
"""Of all bytes: what cuts may cost in the end, whatever their number."""
LOST_AT_ONCE = 1 / 8
"""Of what they may still cost: what is risked again."""


class Work(Protocol):
    """A piece to be carried."""

    @property
    def size_bytes(self) -> int:
        """What it puts on the line, in whichever direction."""

    def send(self, wire: Wire, number: int) -> None:
        """Write its frame, which carries `number`; raises `RemoteError` on a dead line."""


Cut = Callable[[HostUnreachable], None]
Reply = Callable[[Work, bytes, "Data"], None]
"""Told of (work, the answer's kind, its payload without the number), in the lane's own thread; may raise."""


class Lanes:
    """Bulk connections that share one backlog; `put` from any thread, `run` in the one that waits."""

    def __init__(
        self, lines: Lines, *, request: Json, on_reply: Reply, total_bytes: int, on_cut: Cut | None = None
    ) -> None:
        self.carried_bytes = 0
        """Of work that was answered."""
        self.cuts = 0
        """Lines that broke."""
        self._lines = lines
        self._request = request
        self._on_reply = on_reply
        self._on_cut = on_cut
        self._total_bytes = total_bytes
        self._backlog: Backlog[Work] = Backlog()
        self._lanes: list[_Lane] = []
        self._growth = Growth()
        self._lock = threading.Lock()
        self._sent_bytes = 0
        self._lost_bytes = 0

    @property
    def sent_bytes(self) -> int:
        """Put on the line, what was lost with a connection included."""
        with self._lock:
            return self._sent_bytes + sum(lane.sending_bytes for lane in self._lanes)

    @property
    def connections(self) -> int:
        """How many lanes carry at present."""
        return len(self._lanes)

    @property
    def far(self) -> bool:
        """Whether bytes cost more than the time to make them fewer."""
        return self._growth.far

    @property
    def waiting(self) -> int:
        """Pieces that wait for a lane: none, and the line is faster than whoever makes them."""
        return self._backlog.waiting

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not: who still makes work may stop."""
        return self._backlog.over

    def put(self, work: Work) -> None:
        """Add a piece; waits while enough others do. Raises `Cancelled` when all is over."""
        self._backlog.put(work)

    def put_first(self, work: Work) -> None:
        """Add a piece that goes before the others; never waits."""
        self._backlog.put_first(work)

    def close(self) -> None:
        """No more work will come from producers; answers may still bring some."""
        self._backlog.close()

    def fail(self, error: BaseException) -> None:
        """End everything with that error."""
        self._backlog.fail(error)

    def run(self, tick: Callable[[], None]) -> None:
        """Until every piece is answered; `tick` is called about ten times a second.

        Raises the first error: `RemoteError` where no lane can be kept alive, or what the machine refused.
        """
        try:
            self._open_first()
            while not self._backlog.await_end(TICK_S):
                tick()
                if not self.cuts and self._growth.wants_more(self.carried_bytes, self._total_bytes, self.connections):
                    self._add_lane(self._lines.bulk(self.connections - 1))
            tick()
        except BaseException as error:
            self._backlog.fail(error)
            raise
        finally:
            for lane in list(self._lanes):
                lane.join()
        if self._backlog.error is not None:
            raise self._backlog.error

    @property
    def request(self) -> Json:
        """What opens the stream of work on a session."""
        return self._request

    @property
    def window_bytes(self) -> int:
        """How much a lane may have unanswered: after cuts only so much that further ones cost little."""
        window_bytes = self._growth.window_bytes
        if self._lost_bytes:
            to_lose_bytes = LOST_AT_ONCE * (LOST_SHARE * self._total_bytes - self._lost_bytes)
            window_bytes = min(window_bytes, max(1, int(to_lose_bytes / max(1, self.connections))))
        return window_bytes

    def reply(self, work: Work, kind: bytes, payload: Data) -> None:
        """Pass an answer on."""
        self._on_reply(work, kind, payload)

    def count_carried(self, size_bytes: int) -> None:
        """A piece was answered."""
        with self._lock:
            self.carried_bytes += size_bytes

    def count_sent(self, size_bytes: int, lost_bytes: int) -> None:
        """So much was written by a lane that ended, and so much of it has to be done again."""
        with self._lock:
            self._sent_bytes += size_bytes
            self._lost_bytes += lost_bytes

    def cut(self, error: HostUnreachable) -> None:
        """A lane lost its line and dials again."""
        with self._lock:
            self.cuts += 1
        if self._on_cut:
            self._on_cut(error)

    def retire(self, lane: _Lane, error: HostUnreachable) -> None:
        """A lane gave up; the last one ends everything."""
        with self._lock:
            self._lanes.remove(lane)
            if not self._lanes:
                self._backlog.fail(error)

    def _open_first(self) -> None:
        """The control connection carries at once; as many more are opened meanwhile as the distance asks for."""
        self._add_lane(self._lines.control)
        if self._total_bytes <= SMALL_BYTES:
            self._growth.settled = True
            return
        self._growth.rtt_s = self._round_trip_s()
        if self._growth.far:
            for number in range(min(FAR_LINES, self._total_bytes // FIRST_SHARE_BYTES)):
                self._add_lane(self._lines.bulk(number))

    def _round_trip_s(self) -> float:
        if self._lines.rtt_s is not None:
            return self._lines.rtt_s
        for _ in range(MEASURED_AGAIN):
            with suppress(HostUnreachable, CommandFailed), session(self._lines.control.fresh(REDIAL_S)) as wire:
                began = time.monotonic()
                ask(wire, op="hello")
                return time.monotonic() - began
        return 0.0

    def _add_lane(self, line: Line) -> None:
        with self._lock:
            self._lanes.append(_Lane(self, line, self._backlog))


class _Lane:
    """One connection's threads: one writes the work, one reads the answers and mends the connection."""

    def __init__(self, lanes: Lanes, line: Line, backlog: Backlog[Work]) -> None:
        self._lanes = lanes
        self._line = line
        self._backlog = backlog
        self._out: dict[int, Work] = {}
        self._taken_bytes = 0  # counted by the writer alone, as the next is by the reader alone
        self._answered_bytes = 0
        self._answer = threading.Condition()
        self._number = 0
        self._wire: Wire | None = None
        self._dialling = False
        self._given_up = False
        self._thread = threading.Thread(target=self._live, name="gpurun-lane", daemon=True)
        self._thread.start()

    @property
    def sending_bytes(self) -> int:
        """Put on the present connection."""
        wire = self._wire
        return wire.sent_bytes if wire is not None else 0

    def join(self) -> None:
        """Wait for the threads, unless it is dialling: that ends by itself."""
        wire = self._wire
        if wire is not None and self._backlog.error is not None:
            wire.close()
        if not self._dialling:
            self._thread.join()

    def _live(self) -> None:
        cuts = 0
        try:
            while not self._backlog.over:
                answered = self._lanes.carried_bytes
                try:
                    self._carry()
                except HostUnreachable as error:
                    cuts = cuts + 1 if self._lanes.carried_bytes == answered else 0
                    if cuts >= CUTS_LIMIT or self._given_up:
                        raise
                    self._lanes.cut(error)
                    self._backlog.await_end(min(FIRST_REST_S * 2**cuts, 2.0))
        except HostUnreachable as error:
            self._lanes.retire(self, error)
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            self._backlog.fail(error)

    def _carry(self) -> None:
        """Connect and carry until all is done; raises `HostUnreachable` on a dead line."""
        connection = self._connect()
        if connection is None or self._backlog.over:
            return
        with session(connection) as wire:
            self._wire = wire
            try:
                wire.send_json(self._lanes.request)
                self._carry_on(wire)
            except CommandFailed as failed:
                # The agent was killed, most likely for memory: that is a cut, and another session may fare better.
                raise HostUnreachable(failed.message, hint="gpurun ssh RUN dmesg") from failed
            finally:
                self._wire = None
                self._lanes.count_sent(wire.sent_bytes, self._taken_bytes - self._answered_bytes)
                self._backlog.again(list(self._out.values()))
                self._out.clear()
                self._taken_bytes = self._answered_bytes = 0

    def _carry_on(self, wire: Wire) -> None:
        broken = threading.Event()
        errors: list[BaseException] = []
        writer = threading.Thread(target=self._write, args=(wire, broken, errors), name="gpurun-lane-w", daemon=True)
        writer.start()
        try:
            self._read(wire)
        except BaseException:
            wire.close()
            # What the reader was told says more than that the agent reads no further.
            if errors and not isinstance(errors[0], HostUnreachable | CommandFailed):
                raise errors[0] from None
            raise
        finally:
            broken.set()
            self._backlog.wake()
            with self._answer:
                self._answer.notify()
            writer.join()

    def _connect(self) -> Connection | None:
        """A live connection; `None` when all is over before there is one.

        Raises `HostUnreachable` when there was none for so long that the lane is given up.
        """
        until = time.monotonic() + REDIAL_S
        self._dialling = True
        try:
            while not self._backlog.over:
                try:
                    return self._line.fresh(DIAL_S)
                except HostUnreachable:
                    if time.monotonic() > until:
                        self._given_up = True
                        raise
                    self._backlog.await_end(PAUSE_S)
            return None
        finally:
            self._dialling = False

    def _write(self, wire: Wire, broken: threading.Event, errors: list[BaseException]) -> None:
        """Send work as long as there is some, and the end."""
        try:
            while self._await_room(broken) and (work := self._backlog.take(broken)) is not None:
                self._number += 1
                self._out[self._number] = work
                self._taken_bytes += work.size_bytes
                work.send(wire, self._number)
            if not broken.is_set() and self._backlog.error is None:
                wire.send_json({"end": True})
        except BaseException as error:  # noqa: BLE001  (the reader wakes and raises it)
            errors.append(error)
        finally:
            if errors or self._backlog.error is not None:
                wire.close()

    def _await_room(self, broken: threading.Event) -> bool:
        """Wait until there is little enough unanswered; `False` on a broken line."""
        with self._answer:
            while not broken.is_set() and self._taken_bytes - self._answered_bytes >= self._lanes.window_bytes:
                self._answer.wait()
        return not broken.is_set()

    def _read(self, wire: Wire) -> None:
        """Take the answers in, to the one that ends them; raises what the machine refuses."""
        while True:
            kind, payload = wire.receive()
            if kind in JSON_KINDS:
                parse(kind, payload)
                if not self._backlog.over:
                    raise TransferError("the machine ended before it had answered all that it was asked")
                return
            number = NUMBER.unpack_from(payload)[0] if len(payload) >= NUMBER.size else 0
            work = self._out.get(number)
            if work is None:
                raise TransferError("the machine answered what it was not asked")
            self._lanes.reply(work, kind, payload[NUMBER.size :])
            del self._out[number]
            with self._answer:
                self._answered_bytes += work.size_bytes
                self._answer.notify()
            self._lanes.count_carried(work.size_bytes)
            self._backlog.done()
