"""What the process of one tick does: launch its run or go on with it, and tell what came of it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.commands import session
from launcher.errors import GpurunError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.domain import RunId
    from launcher.ledger import Ledger, ScheduleRecord, TickRecord, TickStatus
    from launcher.live import LiveRun
    from launcher.ports import Reporter


def attend(tick_id: int, token: str) -> int:
    """Do a tick that was given to this process; one that was taken back is left alone."""
    from launcher.schedule import worker

    with session.ledger() as book:
        if not book.ticks.claim(tick_id, token, worker.this_process()):
            sys.stderr.write(f"tick {tick_id} is not this process's any more: nothing was done\n")
            return 1
        tick = book.ticks.get(tick_id)
        schedule = book.schedules.get(tick.schedule)
        try:
            with session.reporter(as_json=True) as reporter:
                _attend(book, schedule, tick, reporter)
        except GpurunError as error:
            sys.stderr.write(f"error: {error.message}\n  next: {error.hint}\n")
            return _conclude(book, schedule, book.ticks.get(tick_id), error)
        return _conclude(book, schedule, book.ticks.get(tick_id))


def options(schedule: ScheduleRecord) -> dict[str, Any]:
    """What a schedule's launches are told beside its spec and place: `sandbox` and `profile`."""
    kept = json.loads(schedule.options)
    return {"sandbox": bool(kept.get("sandbox")), "profile": kept.get("profile")}


def cloud(schedule: ScheduleRecord) -> Aws:
    """The account that a schedule's data is looked at with."""
    from launcher.aws.client import Aws

    return Aws(session.account(**options(schedule)))


def _attend(book: Ledger, schedule: ScheduleRecord, tick: TickRecord, reporter: Reporter) -> None:
    from launcher.commands import attending
    from launcher.unattended import claim

    if tick.run_id is None:
        live = _made(book, schedule, reporter)
        book.ticks.launched(tick.tick_id, live.run_id)
        reporter.note(f"run {live.run_id}")
    else:
        record = book.get(tick.run_id)
        if record.status.final:
            return
        live = session.live_run(record, book, reporter)
        claim(live)
        _stow_again(live, schedule)
    attending.attend(live, as_json=True)


def _made(book: Ledger, schedule: ScheduleRecord, reporter: Reporter) -> LiveRun:
    """A new run, planned and written down as `gpurun launch SPEC --yes` does it."""
    from launcher import creation, outputs, plan, prepare
    from launcher.commands import launch, own, planning
    from launcher.domain import Account
    from launcher.places.arrange import arrange
    from launcher.schedule import carry, stored

    began = datetime.now(UTC)
    spec = stored.read(Path(schedule.spec)) or launch.read_spec(schedule.spec, [], {})
    prepare.check_key(spec, reporter)
    place = own.address(schedule.place, {})
    if place is not None:
        arranged = arrange(spec, place, state=session.state(), trust=own.trust(None))
        spec, chosen, account, aws = arranged.spec, arranged.plan, Account(), None
    else:
        account = session.account(**options(schedule))
        known = planning.known(book, account, spec.name, None)
        asked = planning.cloud(account, spec.resources, rehearsal=False)
        chosen = plan.make(spec, asked, book.cache, known=known, rehearsal=False)
        outputs.check(spec, asked, chosen, reporter, rehearsal=False)
        aws = asked.at(chosen.offers[0].region)
    champion = carry.fetch(schedule, spec.name, account, session.state())
    spec = carry.told(spec, schedule, champion)
    live = creation.create(
        spec, chosen, account, aws, ledger=book, state=session.state(), reporter=reporter, planning_began=began
    )
    carry.stow(live, champion)
    carry.inherit(live)
    return live


def _stow_again(live: LiveRun, schedule: ScheduleRecord) -> None:
    """The process died before the champion was with the run: it goes along now, unless the job began without it."""
    from launcher.ledger import account_from_text
    from launcher.schedule import carry

    if live.has_event(carry.EVENT) or live.has_event("job.intent"):
        return
    account = account_from_text(live.record.account)
    carry.stow(live, carry.fetch(schedule, live.spec.name, account, session.state()))


def _conclude(book: Ledger, schedule: ScheduleRecord, tick: TickRecord, error: GpurunError | None = None) -> int:
    """Close the tick by what became of its run; a run that goes on without a launcher is come back to."""
    from launcher.domain import RunStatus
    from launcher.ledger import TickStatus
    from launcher.schedule import carry

    trouble = error.message if error else ""
    if tick.run_id is None:
        _end(book, schedule, tick, TickStatus.FAILED, trouble, hint=error.hint if error else "")
        return 1
    run = book.get(tick.run_id)
    if not run.status.final:
        book.ticks.wait(
            tick.tick_id, f"run {run.run_id} lost its launcher and is gone on with: {trouble or run.reason}"
        )
        return 1
    carry.drop(session.state(), run.run_id)
    if run.status is RunStatus.SUCCEEDED:
        return _succeeded(book, schedule, tick, run.run_id)
    ended = TickStatus.CANCELLED if run.status is RunStatus.CANCELLED else TickStatus.FAILED
    job = f"the job exited with {run.exit_status}" if run.exit_status else "the run failed"
    _end(book, schedule, tick, ended, run.reason or trouble or job)
    return 1


def _succeeded(book: Ledger, schedule: ScheduleRecord, tick: TickRecord, run_id: RunId) -> int:
    from launcher.ledger import TickStatus
    from launcher.schedule.success import on_success

    try:
        kept = on_success(schedule, run_id, book, session.state(), lambda: session.cloud_of(book.get(run_id)))
    except GpurunError as error:
        reason = f"the run succeeded, but its weights were not kept, or not judged: {error.message}"
        _end(book, schedule, tick, TickStatus.FAILED, reason, hint=error.hint)
        return error.exit_code
    reason = f"{tick.reason}; {kept.told}" if tick.reason else kept.told
    if book.ticks.end(tick, TickStatus.SUCCEEDED, reason, datetime.now(UTC), version=kept.version):
        next_step = f"gpurun weights show {kept.version} --store {schedule.store}"
        _tell(schedule, kept.event, f"{kept.version}: {kept.told}", next_step)
    return 0


def _end(
    book: Ledger, schedule: ScheduleRecord, tick: TickRecord, status: TickStatus, reason: str, *, hint: str = ""
) -> None:
    """Close a tick that came to nothing, and tell of it unless somebody wanted it so: the champion stays."""
    from launcher.ledger import TickStatus

    told = f"{reason}; next: {hint}" if hint else reason
    if book.ticks.end(tick, status, told, datetime.now(UTC)) and status is TickStatus.FAILED:
        look = f"gpurun logs {tick.run_id}" if tick.run_id else f"gpurun schedule history {schedule.name}"
        _tell(schedule, "failed", f"{reason}; the champion stays", hint or look)


def _tell(schedule: ScheduleRecord, event: str, what: str, next_step: str) -> None:
    from launcher.schedule import notice

    for trouble in notice.tell(schedule, event, what, next_step):
        sys.stderr.write(f"warning: {trouble}\n")
