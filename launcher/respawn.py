"""On to the next machine: whether the run may, and the present one left for good."""

from __future__ import annotations

import threading

from launcher import lifeline, places
from launcher.aws import fleet
from launcher.berth import Berth
from launcher.domain import NOT_NEEDED, RunStatus, Segment
from launcher.errors import BudgetExceeded, GpurunError, MachineGone
from launcher.live import LiveRun
from launcher.provision import move_to

SHORTEST_S = 60.0
"""AWS bills a minute at least: for less no other machine is made."""
AT_DEADLINE_S = 5.0
"""So near to it nobody but the deadline has ended a machine: its own timers, or the switch in the cloud."""
BY_SOMEBODY = "Client."
"""EC2's codes for an end that somebody wanted: the user, or the machine itself at its deadline."""


def check(live: LiveRun, gone: MachineGone) -> None:
    """Raise `gone`, or `BudgetExceeded`, where the run must not go on elsewhere."""
    limits = live.spec.limits
    left_s = lifeline.seconds_left(live.deadline)
    if gone.reason.startswith(BY_SOMEBODY) and left_s < AT_DEADLINE_S:
        raise MachineGone(
            f"{gone.message}; its time was up, by max_hours or max_cost", hint=gone.hint, reason=gone.reason
        ) from gone
    if gone.reason.startswith(BY_SOMEBODY) or live.here("fetched"):  # or it did its work, and that is home
        raise gone
    if live.record.segment > limits.max_restarts:
        raise MachineGone(
            f"{gone.message}; it is the machine number {live.record.segment} that this run lost",
            hint="limits.max_restarts allows more; what came home is kept",
            reason=gone.reason,
        ) from gone
    if left_s < SHORTEST_S:
        raise BudgetExceeded(
            f"{gone.message}; less than a minute is left until the run's deadline for another one",
            hint=f"what came home lies in {live.record.results_dir}",
        ) from gone


def leave(live: LiveRun, why: str, berth: Berth | None, *, stopped: bool) -> None:
    """Leave the present machine and make the next segment the present one.

    Unless its job is known to have stopped, the machine is seen terminated before another one may start it.
    """
    old = next((each for each in live.ledger.segments(live.run_id) if each.number == live.record.segment), None)
    number = following(live) if berth is None else berth.number
    live.event("interrupted", why=why, segment=live.record.segment)
    live.reporter.note(f"{why}; going on on another machine, number {number} of this run")
    live.phases.enter("provision", "" if berth is None else berth.instance.instance_type)
    live.hang_up()
    # In one step: whoever goes on after a crash takes the old machine for left, and not for ended by somebody.
    live.advance(RunStatus.INTERRUPTED, segment=number, instance_id=None)
    if berth is None:
        return
    if old is not None and old.ended_at is None:
        if not stopped:
            bury(live, old, why)
        else:  # nobody needs to wait for EC2 to say so
            threading.Thread(target=_bury_quietly, args=(live, old, why), name="gpurun-bury", daemon=True).start()
    live.advance(RunStatus.PROVISIONING)
    move_to(live, berth.instance, number)
    live.take_lines(berth.lines)


def following(live: LiveRun) -> int:
    """The next machine's number; one that was made and ended before anybody moved to it has used up its own."""
    ended = {each.number for each in live.ledger.segments(live.run_id) if each.ended_at is not None}
    number = live.record.segment + 1
    while number in ended:
        number += 1
    return number


def bury(live: LiveRun, segment: Segment, why: str) -> None:
    """Terminate a segment's machine and see it terminated; raises what AWS answers otherwise."""
    places.of(live).end(live, segment)
    live.ledger.end_segment(live.run_id, segment.number, why)


def dismiss_older(live: LiveRun) -> None:
    """Have every machine before the present one terminated; `bury_older` sees that it is. Raises what AWS answers."""
    for segment in _older(live):
        fleet.terminate(live.aws.at(segment.region), [segment.instance_id])


def bury_older(live: LiveRun) -> None:
    """See that no machine before the present one is left: a job that still ran there would be billed and in the way.

    Raises what AWS answers.
    """
    why = next((data["why"] for data in reversed(live.told("interrupted"))), "")
    for segment in _older(live):
        bury(live, segment, why)


def _older(live: LiveRun) -> list[Segment]:
    segments = live.ledger.segments(live.run_id)
    return [each for each in segments if each.ended_at is None and each.number < live.record.segment]


def bury_others(live: LiveRun) -> None:
    """End every machine of the run but the present one: nobody will move to them."""
    for segment in live.ledger.segments(live.run_id):
        if segment.ended_at is None and segment.number != live.record.segment:
            _bury_quietly(live, segment, NOT_NEEDED)


def _bury_quietly(live: LiveRun, segment: Segment, why: str) -> None:
    try:
        bury(live, segment, why)
    except GpurunError as error:
        live.event("bury.failed", segment=segment.number, error=error.message)  # the end of the run looks again
