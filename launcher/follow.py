"""The job's log, from the machine to whoever watches and to the run's own copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from launcher import lifeline
from launcher.attach import raise_if_gone
from launcher.domain import JobReport
from launcher.errors import HostUnreachable, MachineGone, RemoteError
from launcher.live import LiveRun
from launcher.ports import Connection
from launcher.sync import remote_agent, stream
from launcher.sync.ssh.connection import Line

REDIAL_S = 15.0
"""How long a lost line is dialled again before EC2 is asked whether the machine still is."""


def follow(live: LiveRun, connection: Connection) -> JobReport:
    """Stream the log to the reporter and to the run's own copy; the copy's size is where to go on."""
    if live.has_event("job.done"):
        return remote_agent.report(connection, live.layout)
    if live.lines is None:
        raise HostUnreachable("no line to the machine", hint=f"gpurun resume {live.run_id}")
    line = live.lines.log
    path = live.paths.log
    offset = path.stat().st_size if path.exists() else 0
    lost = _lost(live)
    follower = stream.follow(
        lambda: _dial(line, lost), live.layout, offset=offset, on_lost=lost, on_notice=live.reporter.warn
    )
    if offset:
        live.phases.enter("run")
    with path.open("ab", buffering=0) as copy:
        for data in follower:
            if live.phases.now == "first log":
                live.phases.enter("run")
            _keep(live, copy, data)
            live.reporter.log(data)
    return follower.report


def _keep(live: LiveRun, copy: BinaryIO, data: bytes) -> None:
    """Write log bytes home; a full disk there ends the copy, which `resume` completes, and not the watching."""
    if copy.closed:
        return
    try:
        copy.write(data)
    except OSError as error:
        copy.close()
        live.reporter.warn(f"the log is no longer written to {live.paths.log}: {error.strerror}")


def _dial(line: Line, lost: Callable[[RemoteError], None]) -> Connection:
    """A live connection, however long it takes; `lost` is told of each vain attempt and may give up."""
    while True:
        try:
            return line.fresh(REDIAL_S)
        except HostUnreachable as error:
            lost(error)


def _lost(live: LiveRun) -> Callable[[RemoteError], None]:
    """What to do at each cut: tell it once, and give up only when the machine is gone or its deadline has passed."""
    told: list[RemoteError] = []

    def on_lost(error: RemoteError) -> None:
        if not told:
            live.reporter.warn("the line to the machine is gone; the job goes on there, dialling again")
        told.append(error)
        if lifeline.seconds_left(live.deadline) == 0:
            raise MachineGone("the run's deadline has passed", hint=f"gpurun down {live.run_id}")
        raise_if_gone(live)

    return on_lost
