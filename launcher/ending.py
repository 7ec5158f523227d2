"""How an attended run ends before its time: stopped by its user, or by what went wrong."""

from __future__ import annotations

from contextlib import suppress

from launcher import interrupts, jobend, lifeline, places, respawn, teardown
from launcher.attach import reach, still_there
from launcher.domain import Receipt, RunStatus
from launcher.errors import (
    BudgetExceeded,
    CredentialsError,
    HostUnreachable,
    LedgerError,
    MachineGone,
    ProvisionError,
    RemoteError,
    SpecError,
)
from launcher.fetch import bring_home
from launcher.follow import follow
from launcher.live import LiveRun
from launcher.sync import remote_agent

HOLD_TIMEOUT_S = 30.0
DIAL_TIMEOUT_S = 240.0


def stop(live: LiveRun, *, gently: bool = True) -> Receipt:
    """End the run on the user's word: the job stopped with its grace and its results home first, unless not `gently`.

    Another signal ends the machine at once. Raises what keeps the results from coming home; the machine then waits.
    """
    if gently:
        try:
            with live.signals.installed(), live.signals.raised():
                _stop_gently(live)
        except (KeyboardInterrupt, interrupts.StopAsked, interrupts.HangUp):
            stays = "ending the job at once; what is not home stays there"
            lost = "ending the machine at once; what is not home is lost"
            live.reporter.warn(lost if places.of(live).replaceable else stays)
        except MachineGone as error:
            live.reporter.warn(error.message)
        except Exception as error:
            after_failure(live, error)
            raise
    return teardown.end(live, RunStatus.CANCELLED, reason="stopped by the user")


def _stop_gently(live: LiveRun) -> None:
    if not live.here("job.started"):
        return
    connection = reach(live).control.fresh(DIAL_TIMEOUT_S)
    if not live.here("job.done"):
        live.reporter.note(f"stopping the job; it has {lifeline.STOP_GRACE_S:.0f} s to save a checkpoint")
        remote_agent.signal(connection, live.layout, "TERM")
        jobend.record(live, follow(live, connection))
    fetch(live)


def fetch(live: LiveRun) -> None:
    """Bring the results home; `MachineGone` where that is why they do not come."""
    if live.record.status is RunStatus.RUNNING:
        live.advance(RunStatus.FETCHING)
    live.phases.enter("fetch")
    try:
        bring_home(live)
    except HostUnreachable:
        still_there(live)  # one that is gone is another story than one that does not answer
        raise


def after_failure(live: LiveRun, error: Exception) -> None:
    """End the machine, unless it still holds work that only it has."""
    with suppress(LedgerError):
        live.event("failed", error=str(error), type=type(error).__name__)
    if _passing(live, error):
        _leave_for_later(live, error)
        return
    if not live.here("job.started") or isinstance(error, MachineGone | BudgetExceeded):
        # A job that ended and came home is what it was, whatever became of its machine.
        home = isinstance(error, MachineGone) and live.has_event("fetched")
        teardown.end(live, teardown.deserved(live) if home else RunStatus.FAILED, reason=str(error))
        return
    held = live.here("job.done") and hold_until_deadline(live)
    with suppress(LedgerError):
        respawn.bury_others(live)
    with suppress(LedgerError):
        live.update(launcher_pid=None, launcher_started=None)
        if live.record.status is not RunStatus.TERMINATING:  # that it cannot be ended yet is not why it ends
            live.update(reason=str(error))
    live.hang_up()
    live.reporter.warn(
        f"the machine is left as it is: {places.of(live).left(live, held=held)}; "
        f"gpurun resume {live.run_id} goes on, gpurun down {live.run_id} ends it now"
    )


def _passing(live: LiveRun, error: Exception) -> bool:
    """Whether a run between two machines can go on later: AWS cannot be asked, or this shell lacks what it needs."""
    noted = any(each.number == live.record.segment for each in live.ledger.segments(live.run_id))
    kinds = CredentialsError, SpecError
    return live.record.segment > 1 and not noted and (isinstance(error, kinds) or type(error) is ProvisionError)


def _leave_for_later(live: LiveRun, error: Exception) -> None:
    """No machine is held and none can be had now: what is home is enough to go on from."""
    with suppress(LedgerError):
        live.update(launcher_pid=None, launcher_started=None, reason=str(error))
    live.hang_up()
    live.reporter.warn(f"the last checkpoint is home; gpurun resume {live.run_id} goes on on another machine")


def hold_until_deadline(live: LiveRun) -> bool:
    """Keep a finished job's machine for its results until the deadline, lease or no lease; says whether it will."""
    if live.lines is None:
        return False
    try:
        with live.signals.held("asking the machine to wait for you"):
            connection = live.lines.control.fresh(HOLD_TIMEOUT_S)
            remote_agent.renew(connection, live.layout, lifeline.seconds_left(live.deadline))
    except RemoteError as error:
        live.reporter.warn(f"could not ask the machine to wait for you: {error.message}")
        return False
    return True
