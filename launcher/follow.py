"""The job's log, from the machine to whoever watches and to the run's own copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from launcher import lifeline, places
from launcher.attach import let_in, still_there
from launcher.domain import JobReport
from launcher.errors import HostUnreachable, MachineGone, OutOfReach, RemoteError, TransferError
from launcher.live import LiveRun
from launcher.ports import Connection, Line
from launcher.sync import remote_agent, stream
from launcher.sync.events import Event

REDIAL_S = 15.0
"""How long a lost line is dialled again before EC2 is asked whether the machine still is."""
LOST_AFTER_S = 300.0
"""How long a machine that EC2 calls running may be out of reach before it is given up."""

OnEvent = Callable[[Event], None]


def follow(
    live: LiveRun, connection: Connection, *, on_event: OnEvent | None = None, lost_after_s: float = LOST_AFTER_S
) -> JobReport:
    """Stream the log to the reporter and to the run's own copy; the copy's size is where to go on.

    Raises `MachineGone` where the machine has ended, or cannot be reached for `lost_after_s` while EC2 can, and
    `OutOfReach` for one that cannot be reached so long and that no other replaces.
    """
    if live.here("job.done"):
        return remote_agent.report(connection, live.layout)
    if live.lines is None:
        raise HostUnreachable("no line to the machine", hint=f"gpurun resume {live.run_id}")
    line = live.lines.log
    path = live.paths.log
    offset = path.stat().st_size if path.exists() else 0
    lost = _Lost(live, lost_after_s)
    follower = stream.follow(
        lambda: _dial(line, lost, lost_after_s),
        live.layout,
        offset=offset,
        on_lost=lost,
        on_notice=live.reporter.warn,
        on_event=on_event,
    )
    if offset:
        live.phases.enter("run")
    with path.open("ab", buffering=0) as copy:
        for data in follower:
            lost.heard()
            if live.phases.now == "first log":
                live.phases.enter("run")
            _keep(live, copy, data)
            live.reporter.log(data)
        cut = copy.closed
    if cut:
        _complete(live, line, path)
    return follower.report


def _keep(live: LiveRun, copy: BinaryIO, data: bytes) -> None:
    """Write log bytes home; a full disk there ends the copy, which `resume` completes, and not the watching."""
    if copy.closed:
        return
    try:
        _write(copy, data)
    except OSError as error:
        copy.close()
        live.reporter.warn(f"the log is no longer written to {live.paths.log}: {error.strerror}")


def _write(copy: BinaryIO, data: bytes) -> None:
    """All of it: a disk that is nearly full takes a part, and says so without an error (write(2))."""
    rest = memoryview(data)
    while rest:
        rest = rest[copy.write(rest) :]


def _complete(live: LiveRun, line: Line, path: Path) -> None:
    """Bring what a full disk has not taken of a log; raises `TransferError` where there is no room for it yet."""
    missing = stream.read(line.fresh(REDIAL_S), live.layout, offset=path.stat().st_size)
    try:
        with path.open("ab", buffering=0) as copy:
            _write(copy, missing)
    except OSError as error:
        raise TransferError(
            f"the log cannot be written to {path}: {error.strerror}",
            hint=f"make room there, then gpurun resume {live.run_id}",
        ) from None


def find_again(live: LiveRun, line: Line, lost_after_s: float) -> Connection:
    """A connection to a machine that has worked for the run: its door follows this laptop, and it may have died.

    Raises as `follow` does.
    """
    return _dial(line, _Lost(live, lost_after_s), lost_after_s)


def _dial(line: Line, lost: Callable[[RemoteError], None], lost_after_s: float) -> Connection:
    """A live connection, however long it takes; `lost` is told of each vain attempt and may give up."""
    while True:
        try:
            return line.fresh(min(REDIAL_S, lost_after_s))
        except HostUnreachable as error:
            lost(error)


class _Lost:
    """What to do at each cut: tell it, let the laptop's new address in, and give up when there is nothing to reach."""

    def __init__(self, live: LiveRun, lost_after_s: float) -> None:
        self._live = live
        self._lost_after_s = lost_after_s
        self._since: float | None = None
        self._told = False

    def heard(self) -> None:
        """The line works."""
        self._since = None

    def __call__(self, error: RemoteError) -> None:
        """A cut, or a vain attempt to mend it; raises `MachineGone` when it is for good."""
        live = self._live
        if not self._told:
            live.reporter.warn("the line to the machine is gone; the job goes on there, dialling again")
            self._told = True
        replaceable = places.of(live).replaceable
        if replaceable and lifeline.seconds_left(live.deadline) == 0:
            raise MachineGone(
                "the run's deadline has passed", hint=f"gpurun down {live.run_id}", reason="Client.Deadline"
            )
        if not still_there(live):
            self._since = None  # nobody knows: the laptop is offline
            return
        let_in(live)
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since <= self._lost_after_s:
            return
        if not replaceable:
            raise OutOfReach(
                f"{live.record.address} has not answered for {self._lost_after_s:.0f} s; what runs there goes on",
                hint=f"gpurun resume {live.run_id} once it answers",
            ) from error
        raise MachineGone(
            f"the machine of run {live.run_id} runs, says EC2, but has not answered for {self._lost_after_s:.0f} s",
            hint=f"gpurun ssh {live.run_id} tries to reach it",
        ) from error
