"""The job's log, byte for byte, over as many lines as it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from launcher.domain import Interruption, JobReport, Shipped
from launcher.errors import HostUnreachable, RemoteError, TransferError
from launcher.ports import Connection
from launcher.sync.events import CheckpointChanged, Event, event_of
from launcher.sync.layout import RemoteLayout
from launcher.sync.remote_agent import to_report
from launcher.sync.reports import to_shipped
from launcher.sync.wire.frames import Json, block_of, parse
from launcher.sync.wire.session import open_session

if TYPE_CHECKING:
    from launcher.agent.hashes import Data

LEASE_S = 60.0
RENEW_EVERY_S = 5.0
SILENCE_LIMIT_S = 15.0
"""The agent breaks its silence every 4 s; a line that says nothing for longer is dead."""
LOOK_EVERY_S = 0.2
OFFSET_LIMIT = 1 << 63
CUTS_LIMIT = 20
"""Lines that broke one after another without a word: the agent cannot serve there."""


Connect = Callable[[], Connection]
Lost = Callable[[RemoteError], None]
Notice = Callable[[str], None]
Happened = Callable[[Event], None]

__all__ = ["CheckpointChanged", "Event", "Follower", "Interruption", "follow", "read"]


def follow(
    connect: Connect,
    layout: RemoteLayout,
    *,
    offset: int = 0,
    on_lost: Lost | None = None,
    on_notice: Notice | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    lease_s: float = LEASE_S,
) -> Follower:
    """The log from `offset` on, until the job has ended and every byte has come, or `stop` is set.

    `connect` gives a live connection each time one is needed, and raises when it gives up; `on_lost` is told of each
    cut, `on_notice` of a log that was emptied over there, `on_event`, between two blocks, of the machine's end and of
    each state of the checkpoint folder, once each. While it follows, the machine's lease is renewed for `lease_s`.
    """
    return Follower(
        connect,
        layout,
        offset=offset,
        on_lost=on_lost,
        on_notice=on_notice,
        on_event=on_event,
        stop=stop,
        lease_s=lease_s,
    )


def read(connection: Connection, layout: RemoteLayout, *, offset: int = 0) -> bytes:
    """The log from `offset` to its present end; raises `RemoteError`."""
    return b"".join(Follower(lambda: connection, layout, offset=offset, on_lost=_give_up, once=True))


def _give_up(error: RemoteError) -> None:
    raise error


class Follower:
    """An iterator over the log's new bytes; after its end, `report` tells how the job is."""

    def __init__(  # noqa: PLR0913  (what `follow` is told)
        self,
        connect: Connect,
        layout: RemoteLayout,
        *,
        offset: int,
        on_lost: Lost | None = None,
        on_notice: Notice | None = None,
        on_event: Happened | None = None,
        stop: threading.Event | None = None,
        lease_s: float = LEASE_S,
        once: bool = False,
    ) -> None:
        self.offset = offset
        """Of the next byte."""
        self.report = JobReport(state="absent")
        self._connect = connect
        self._layout = layout
        self._on_lost = on_lost
        self._on_notice = on_notice
        self._on_event = on_event
        self._told: dict[type[Event], object] = {}
        """What is known of either kind, so that another line tells nothing twice."""
        self._shipping_problem = ""
        self._stop = stop or threading.Event()
        self._lease_s = lease_s
        self._once = once
        self._line: _Line | None = None
        self._over = False
        self._cuts_in_a_row = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            while not self._over and not self._stop.is_set():
                if data := self._next_block():
                    return data
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Hang up; harmless when done twice."""
        self._over = True
        self._drop()

    def _next_block(self) -> bytes:
        """The next bytes; none where the line was cut or something else was said."""
        line = self._line or self._dial()
        if line is None:
            return b""
        try:
            kind, payload = line.receive()
        except HostUnreachable as error:
            self._lost(error)
            return b""
        self._cuts_in_a_row = 0
        if kind in {b"D", b"d"}:
            data = block_of(kind, payload)
            self.offset += len(data)
            return data
        said = parse(kind, payload)
        if "emptied_at" in said:
            self._begin_anew(said["emptied_at"])
        if self._on_notice and said.get("shipped") is not None:
            self._tell_of_shipping(self._on_notice, to_shipped(said["shipped"]))
        if self._on_event and (event := event_of(said)):
            self._tell(self._on_event, event)
        if said.get("done") is not None:
            self.report = to_report(said["done"])
            self._over = True
        return b""

    def _tell(self, on_event: Happened, event: Event) -> None:
        """Tell of what is new."""
        known = event.noticed_at if isinstance(event, Interruption) else event.state
        if self._told.get(type(event)) != known:
            self._told[type(event)] = known
            on_event(event)

    def _tell_of_shipping(self, on_notice: Notice, shipped: Shipped) -> None:
        """Tell that the machine's own shipping fails, or works again."""
        if shipped.error_kind != self._shipping_problem:
            self._shipping_problem = shipped.error_kind
            failed = f"the machine cannot send to the outputs bucket, and tries again: {shipped.error}"
            if shipped.error_kind == "unreadable":
                failed = f"the machine sends to the outputs bucket but for what it may not read: {shipped.error}"
            on_notice(failed if shipped.error_kind else "the machine sends to the outputs bucket again")

    def _begin_anew(self, emptied_at: Json) -> None:
        """The log was emptied over there, and counts on from `emptied_at`, or from what had come."""
        if type(emptied_at) is not int or not self.offset <= emptied_at < OFFSET_LIMIT:
            raise TransferError("the machine sent a place in the log that is none")
        lost_bytes, self.offset = emptied_at - self.offset, emptied_at
        lost = f"; {lost_bytes} bytes of it had not come" if lost_bytes else ""
        if self._on_notice:
            self._on_notice(f"the log was emptied on the machine{lost}: what was written since follows")

    def _dial(self) -> _Line | None:
        # A connection that cannot be had is the end of it; one that breaks is not.
        connection = self._connect()
        request = {
            "op": "follow",
            "run": self._layout.home,
            "offset": self.offset,
            "once": self._once,
            "events": self._on_event is not None,
        }
        try:
            self._line = _Line(connection, request, self._lease_s, self._stop)
        except HostUnreachable as error:
            self._lost(error)
        return self._line

    def _lost(self, error: HostUnreachable) -> None:
        """Tell of a cut, and wait a little where cut follows upon cut; raises it again after many."""
        self._drop()
        if self._stop.is_set():
            return
        if self._on_lost and not self._cuts_in_a_row:
            self._on_lost(error)
        self._cuts_in_a_row += 1
        if self._cuts_in_a_row == CUTS_LIMIT:
            raise error
        if self._cuts_in_a_row > 1:
            self._stop.wait(min(0.05 * 2**self._cuts_in_a_row, 2.0))

    def _drop(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class _Line:
    """One channel that the agent sends the log through, with a thread that renews the lease and notices silence."""

    def __init__(self, connection: Connection, request: Json, lease_s: float, stop: threading.Event) -> None:
        self._wire = open_session(connection)
        self._wire.send_json(request)
        self._lease_s = lease_s
        self._stop = stop
        self._closed = threading.Event()
        self._waiting_since: float | None = None
        self._watch = threading.Thread(target=self._keep, daemon=True)
        self._watch.start()

    def receive(self) -> tuple[bytes, Data]:
        """The next frame; raises `RemoteError` on a dead line, a silent one included."""
        self._waiting_since = time.monotonic()
        frame = self._wire.receive()
        self._waiting_since = None
        return frame

    def close(self) -> None:
        """Hang up and wait for the thread."""
        self._closed.set()
        self._wire.close()
        self._watch.join()

    def _keep(self) -> None:
        renewed = 0.0
        while not self._closed.wait(LOOK_EVERY_S):
            now = time.monotonic()
            since = self._waiting_since
            if self._stop.is_set() or (since is not None and now - since > SILENCE_LIMIT_S):
                self._wire.close()
                return
            if now - renewed > RENEW_EVERY_S:
                renewed = now
                try:
                    self._wire.send_json({"lease_s": self._lease_s})
                except RemoteError:
                    return
