"""The life of a run, top to bottom: provision, connect, sync, start, follow, fetch, end.

Every step finds what an earlier attempt left and goes on from there, so one function serves `launch`, `resume` and
"keep going" after Ctrl-C. What is already done costs a look, not a second machine. A machine that is taken back or
dies is left for the next one, with the last checkpoint that is home.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from launcher import berth, ending, interrupts, jobend, outputs, places, provision, respawn, teardown
from launcher.attach import open_lines, still_there, until_up
from launcher.domain import Instance, JobReport, Offer, Receipt, RunStatus
from launcher.errors import (
    Cancelled,
    HostUnreachable,
    MachineGone,
    OutOfReach,
    RemoteError,
)
from launcher.follow import LOST_AFTER_S, find_again
from launcher.live import LiveRun
from launcher.ports import Connection, Lines
from launcher.sync import remote_agent
from launcher.underway import Underway

CONNECT_TIMEOUT_S = 240.0
SHUTDOWN_S = 120.0
"""By when a machine that shuts down is seen to be gone; systemd gives a service 90 s to stop."""
SHUTDOWN_POLL_S = 2.0
DIALS = 5
"""How often a line that broke beside the log, in the last checkpoint or the results, is dialled again."""


class Choice(StrEnum):
    """What Ctrl-C can mean."""

    STOP = "stop"
    END = "end"
    """At once, whatever is not home: the second Ctrl-C."""
    DETACH = "detach"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attended run ended for this launcher."""

    exit_status: int
    receipt: Receipt | None
    """`None` when the run goes on without this launcher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """How this launcher attends the run."""

    detach: bool = False
    boot_timeout_s: float = CONNECT_TIMEOUT_S
    """How long a machine may take from running to answering SSH."""
    lost_after_s: float = LOST_AFTER_S
    """How long a machine that EC2 calls running may be out of reach before it is given up."""
    ask: Callable[[LiveRun, bool], Choice]
    """Asks what Ctrl-C meant; the flag says whether the job runs, so that detaching makes sense."""


def attend(live: LiveRun, attendance: Attendance) -> Outcome:
    """Drive a run to its end, or to where the user lets go of it.

    The run must have been claimed. Raises any `GpurunError` after having ended what must be ended.
    """
    with live.signals.installed():
        if live.record.status is RunStatus.TERMINATING or live.has_event("ending"):
            return _end_begun(live)
        underway = Underway(live, boot_timeout_s=attendance.boot_timeout_s, lost_after_s=attendance.lost_after_s)
        while True:
            choice = _attempt(live, attendance, underway)
            if isinstance(choice, Outcome):
                return choice
            if choice is Choice.KEEP:
                continue
            underway.close()
            if choice is Choice.DETACH and live.here("job.started"):
                return _let_go(live)
            return Outcome(exit_status=Cancelled.exit_code, receipt=ending.stop(live, gently=choice is Choice.STOP))


def _attempt(live: LiveRun, attendance: Attendance, underway: Underway) -> Outcome | Choice:
    try:
        with live.signals.raised():
            live.refresh()
            return _drive(live, attendance, underway)
    except KeyboardInterrupt:
        return _ask(live, attendance)
    except interrupts.StopAsked:
        return Choice.STOP
    except interrupts.HangUp:
        return Choice.DETACH if live.here("job.started") else Choice.STOP
    except Exception as error:
        # A bug of ours must not leave a machine behind either; it is raised again and told as one.
        underway.close()
        ending.after_failure(live, error)
        raise


def _ended_unseen(live: LiveRun, report: JobReport) -> Outcome:
    """End a run whose job ended while nobody watched, and whose results came home from where the machine sent them."""
    exit_status = jobend.record(live, report)
    ended = teardown.end(live, RunStatus.FAILED if exit_status else RunStatus.SUCCEEDED)
    return Outcome(exit_status=exit_status, receipt=ended)


def _end_begun(live: LiveRun) -> Outcome:
    """Go on with an end that an earlier launcher began, to the status that it meant."""
    jobend.bring_unseen(live)
    begun = live.told("ending")
    gone = ["its machine was gone", *(data["why"] for data in live.told("machine.gone") if "why" in data)]
    why = (begun[-1].get("reason") if begun else "") or live.record.reason or ("" if begun else gone[-1])
    receipt = teardown.end(live, teardown.deserved(live), reason=why)
    lost = not receipt.fetched or live.record.exit_status is None
    return Outcome(exit_status=RemoteError.exit_code if lost else live.record.exit_status or 0, receipt=receipt)


def _ask(live: LiveRun, attendance: Attendance) -> Choice:
    try:
        with live.signals.raised():
            return attendance.ask(live, live.here("job.started"))
    except KeyboardInterrupt:
        return Choice.END
    except interrupts.HangUp:
        return Choice.DETACH
    except (interrupts.StopAsked, OSError, ValueError, AttributeError):  # or nobody there to answer
        return Choice.STOP


def _drive(live: LiveRun, attendance: Attendance, underway: Underway) -> Outcome:
    """One segment after the other, until the job has ended by itself or the run may not go on."""
    dials = DIALS
    while True:
        ready = None
        try:
            connection = _started(live, attendance)
            if attendance.detach:
                return _let_go(live)
            report = underway.follow(connection)
            if report.ended_by == "shutdown" and places.of(live).replaceable:
                _await_end(live)
            if report.ended_by != "interruption":
                underway.close()
                return _finish(live, report)
            why, stopped = "the machine was taken back", True
            live.event("job.stopped", exit_status=report.exit_status, log_bytes=report.log_bytes)
            underway.ship()
            ready = underway.leave()
        except (MachineGone, HostUnreachable) as error:
            gone = _gone(live, error)
            if gone is None and dials:
                dials -= 1
                continue
            if gone is None:
                raise
            ready = underway.leave()
            if (unseen := outputs.results(live)) is not None:
                underway.close()
                return _ended_unseen(live, unseen)
            respawn.check(live, gone)
            why, stopped = gone.message, False
            dials = DIALS
        respawn.leave(live, why, ready, stopped=stopped)


def _await_end(live: LiveRun) -> None:
    """The machine shuts down and took its job along: EC2 says why, in time, with `MachineGone`.

    A job that its machine's end has stopped may have exited with 0: that says nothing of its work.
    """
    limit = time.monotonic() + SHUTDOWN_S
    while time.monotonic() < limit:
        still_there(live)
        time.sleep(SHUTDOWN_POLL_S)


def _gone(live: LiveRun, error: MachineGone | HostUnreachable) -> MachineGone | None:
    """The end of the machine, where that is what was met; `None` where it may be reached again.

    Raises the error itself where the machine never answered: its image or its door is wrong, and so would the next be.
    """
    if isinstance(error, MachineGone):
        return error
    if isinstance(error, OutOfReach):
        raise error
    try:
        still_there(live)
    except MachineGone as gone:
        return gone
    if not live.here("connected") and live.record.segment == 1:
        raise error
    return None


def _started(live: LiveRun, attendance: Attendance) -> Connection:
    """The present segment's machine, reached, with the job running on it."""
    if live.lines is not None and live.record.status is RunStatus.PROVISIONING:
        return _moved_in(live, live.lines, attendance.lost_after_s)
    luggage = None if live.here("job.started") else berth.luggage(live)
    if live.record.status in {RunStatus.PLANNED, RunStatus.INTERRUPTED}:
        live.phases.enter("provision", _pool_text(live))
        live.advance(RunStatus.PROVISIONING)
    respawn.dismiss_older(live)
    instance = provision.machine(live)
    live.phases.enter("boot", _where(instance))
    instance = provision.boot(live, instance)
    live.phases.enter("connect", instance.public_address or instance.private_address or "")
    lines = open_lines(live, instance)
    if luggage is None:
        return find_again(live, lines.control, attendance.lost_after_s)
    if live.here("connected"):
        connection = find_again(live, lines.control, attendance.lost_after_s)
    else:
        connection = until_up(live, lines.control, instance, attendance.boot_timeout_s)
        live.event("connected")
    lines.warm()
    live.phases.enter("sync", luggage.text)
    if live.record.status is RunStatus.BOOTING:
        live.advance(RunStatus.SYNCING)
    berth.fill(live, lines, connection, luggage)
    respawn.bury_older(live)
    berth.start(live, lines, connection)
    return connection


def _moved_in(live: LiveRun, lines: Lines, lost_after_s: float) -> Connection:
    """The job started on a machine that was made ready while the last one still worked."""
    live.advance(RunStatus.BOOTING)
    live.advance(RunStatus.SYNCING)
    connection = find_again(live, lines.control, lost_after_s)
    berth.start(live, lines, connection)
    return connection


def _pool_text(live: LiveRun) -> str:
    best = live.plan.offers[0]
    return f"{len(live.plan.offers)} pools, best {_where(best)}" if best.zone else _where(best)


def _where(made: Instance | Offer) -> str:
    """What kind of machine it is, and where; one of the user's own lies in no zone."""
    return f"{made.instance_type} {made.market}" + (f" in {made.zone}" if made.zone else "")


def _finish(live: LiveRun, report: JobReport) -> Outcome:
    """Results home and verified first, then the machine ended."""
    exit_status = jobend.record(live, report)
    ending.fetch(live)
    if exit_status and live.spec.keep_on_failure_s:
        return _kept(live, exit_status)
    ended = teardown.end(live, RunStatus.FAILED if exit_status else RunStatus.SUCCEEDED)
    return Outcome(exit_status=exit_status, receipt=ended)


def _kept(live: LiveRun, exit_status: int) -> Outcome:
    """Leave a failed job's machine up for a look; what remains to be done is to end it, by `down` or by itself."""
    keep_s = live.spec.keep_on_failure_s
    if live.lines is not None:
        remote_agent.release(live.lines.control.fresh(ending.DIAL_TIMEOUT_S), live.layout)
    respawn.bury_others(live)
    live.advance(RunStatus.TERMINATING)
    live.event("ending", status=RunStatus.FAILED.value, reason=live.record.reason, kept_s=keep_s)
    _detach(live)
    place = places.of(live)
    what = f"the machine stays {keep_s:.0f} s from its end" if place.replaceable else "its folder there stays"
    live.reporter.warn(
        f"the job failed and its results are home; {what} for a look: "
        f"gpurun ssh {live.run_id}, then gpurun down {live.run_id}"
    )
    return Outcome(exit_status=exit_status, receipt=None)


def _detach(live: LiveRun) -> None:
    live.update(detached=True, launcher_pid=None, launcher_started=None)
    live.hang_up()


def _let_go(live: LiveRun) -> Outcome:
    respawn.bury_others(live)
    _detach(live)
    live.reporter.note(
        f"detached: the job goes on; {places.of(live).left(live, held=False)}. "
        f"Its results come home with: gpurun resume {live.run_id}"
    )
    return Outcome(exit_status=0, receipt=None)
