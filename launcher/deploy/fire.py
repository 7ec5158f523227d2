"""What a machine of a deployed schedule does by itself: one pass of the same engine, and then it is over.

It takes the schedule's lease, sets its own kill switch, fetches the schedule's ledger, does what is due as
`gpurun schedule run-due` does it, and writes ledger, log and results back to S3.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from launcher.agent import notice
from launcher.aws import instances, killswitch
from launcher.aws.client import Aws
from launcher.aws.storage import download
from launcher.deploy import again, books, names
from launcher.deploy.lease import Desk, Held, Lease
from launcher.deploy.machine import About
from launcher.deploy.unpacked import Unpacked, store_spec
from launcher.domain import Account, RunStatus
from launcher.errors import GpurunError, LedgerError
from launcher.ledger import Ledger, TickRecord, TickStatus
from launcher.paths import CHECKPOINT_NAME, OWN_FOLDER, StatePaths
from launcher.registry import code as pedigree
from launcher.schedule import carry, engine, worker
from launcher.schedule import notice as telling

SAVED_EVERY_S = 30.0
RESULTS, BOOTS = "runs/", "boots/"
TAKEN_BACK = "EC2 took its spot machine back; another one is asked to go on"
DIED = "the process that launched it died; its log is in boots/"
LOST = "its machine is gone: taken back by EC2, or its time was up"
Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Turn:
    """One machine's turn."""

    unpacked: Unpacked
    about: About
    aws: Aws
    state: StatePaths
    lease: Lease
    tell: Tell
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    interrupted: bool = False

    def save(self) -> None:
        """The ledger, to S3; what cannot be written is told, and tried again later."""
        try:
            books.keep(self.aws, self.unpacked.bucket, self.unpacked.prefix, self.state.ledger, self.lease.number)
        except (GpurunError, OSError) as error:
            self.tell(f"the ledger could not be kept: {error}")


def fire(unpacked: Unpacked, about: About, state: StatePaths, tell: Tell) -> int:
    """Do this machine's turn; gives the exit status. Another machine's turn is left alone."""
    aws = Aws(Account(region=unpacked.region))
    now = datetime.now(UTC)
    ends_at = _ends_at(unpacked, about)
    desk = Desk(aws=aws, bucket=unpacked.bucket, prefix=unpacked.prefix)
    tick = about.tags.get(names.TAG_TICK, "")
    lease = desk.take(about.instance_id, tick, ends_at, now, gone=lambda holder: _gone(aws, holder, tell))
    if isinstance(lease, Held):
        tell(f"{lease.lease.holder} has the schedule until {lease.lease.until:%Y-%m-%d %H:%M:%S} UTC at most")
        return 0
    turn = Turn(unpacked=unpacked, about=about, aws=aws, state=state, lease=lease, tell=tell)
    with _kill_switch(turn, ends_at), _held(desk, turn):
        store_spec(unpacked, ends_at)
        os.environ[pedigree.BROUGHT] = str(unpacked.code)
        books.bring(aws, unpacked.bucket, unpacked.prefix, state.ledger)
        with Ledger.open(state.ledger) as book:
            _inherit(turn, book)
            try:
                good = _passed(turn, book, now)
            finally:
                turn.save()
    if turn.interrupted and unpacked.spec.limits.max_restarts:
        again.soon(turn.aws, unpacked, about, ends_at, tell)
    return 0 if good else 1


@contextmanager
def _held(desk: Desk, turn: Turn) -> Iterator[None]:
    """Give the lease back at the end, whatever it is, with what this machine said."""
    try:
        yield
    finally:
        spoken = turn.unpacked.folder / "boot.log"
        if spoken.is_file():
            _send(turn, f"{BOOTS}{turn.lease.number:08d}.log", spoken)
            (turn.unpacked.folder / "told").touch()
        desk.give_back(turn.lease)
    books.prune(turn.aws, turn.unpacked.bucket, turn.unpacked.prefix)


def _gone(aws: Aws, holder: str, tell: Tell) -> bool:
    """Whether EC2 has ended a machine, without a word; where it does not say, its lease stands until its time is up."""
    if not holder.startswith("i-"):
        return False  # a laptop's, for minutes
    try:
        found = instances.describe(aws, holder)
    except GpurunError as error:
        tell(f"it is not known whether {holder} lives: {error.message}")
        return False
    return found is None or found.gone


def _ends_at(unpacked: Unpacked, about: About) -> datetime:
    """When the machine ends: its own time, or what was left to the one that it goes on for."""
    left = about.tags.get(names.TAG_LEFT_S, "")
    whole_s = unpacked.hours * 3600
    return unpacked.born_at + timedelta(seconds=min(whole_s, float(left)) if left.isdecimal() else whole_s)


@contextmanager
def _kill_switch(turn: Turn, ends_at: datetime) -> Iterator[None]:
    """Within the block the cloud ends this machine at its time; without the account's role its own timer does alone."""
    run_id = names.run_id(turn.unpacked.name)
    name = ""
    try:
        name = killswitch.arm(
            turn.aws,
            run_id=run_id,
            segment=turn.lease.number,
            instance_ids=[turn.about.instance_id],
            deadline=ends_at,
            role_arn=killswitch.role(turn.aws),
        ).name
    except GpurunError as error:
        turn.tell(f"{error.message}; {error.hint}")
    yield
    if name:
        with suppress(GpurunError):  # it fires once, at a machine that is gone, and removes itself
            killswitch.remove(turn.aws, name)


def _passed(turn: Turn, book: Ledger, now: datetime) -> bool:
    """What is due, done to its end; whether all of it went well."""
    schedule = books.enter(book, turn.unpacked.schedule)
    lost = _bury(book)
    hands = engine.Hands(
        start=lambda record, tick: turn.children.append(worker.start(turn.state, book, record, tick)),
        cloud=lambda _record: turn.aws,
        trouble=turn.tell,
    )
    if turn.about.tags.get(names.TAG_CAUSE, "cron") == "cron":
        ticks = engine.run_due(book, _due_at(turn, now), hands)
    else:
        begun = engine.run_now(book, schedule, now, hands)
        ticks = () if begun is None else (begun,)
    for trouble in telling.tell_misfortunes([schedule], [*lost, *ticks]):
        turn.tell(trouble)
    if not ticks:
        turn.tell("nothing is due")
    turn.save()
    _attend(turn)
    _settle(turn, book, ticks)
    ended = [book.ticks.get(tick.tick_id) for tick in ticks]
    for tick in ended:
        turn.tell(f"{tick.schedule} {tick.status.value} {tick.version}: {tick.reason}")
        _send_results(turn, book, tick)
    return all(tick.status not in {TickStatus.FAILED, TickStatus.CANCELLED} for tick in ended)


def _inherit(turn: Turn, book: Ledger) -> None:
    """Fetch the checkpoint of the run that this machine goes on for, if there is one."""
    if turn.about.tags.get(names.TAG_CAUSE) != again.RETRY:
        return
    before = next(iter(book.ticks.list(turn.unpacked.name, 1)), None)
    if before is None or before.run_id is None or before.reason != TAKEN_BACK:
        return
    kept = f"{turn.unpacked.prefix}{RESULTS}{before.run_id}/{OWN_FOLDER}/{CHECKPOINT_NAME}/"
    folder = turn.unpacked.folder / "inherited"
    try:
        count = download(turn.aws, turn.unpacked.bucket, kept, folder)
    except (GpurunError, OSError) as error:
        turn.tell(f"the checkpoint of {before.run_id} could not be fetched, the job begins anew: {error}")
        return
    if count:
        os.environ[carry.INHERITED] = str(folder)
        turn.tell(f"going on from the checkpoint of {before.run_id}: {count} files")


def _bury(book: Ledger) -> list[TickRecord]:
    """Close what an earlier machine left open: nobody will ever go on with it."""
    return [_close(book, tick, TickStatus.FAILED, LOST) for tick in book.ticks.unfinished()]


def _close(book: Ledger, tick: TickRecord, status: TickStatus, why: str) -> TickRecord:
    """End a tick, and its run with it."""
    if tick.run_id is not None and not book.get(tick.run_id).status.final:
        with suppress(LedgerError):  # one that never had a machine fails at once
            book.advance(tick.run_id, RunStatus.TERMINATING)
        book.advance(tick.run_id, RunStatus.FAILED, reason=why)
    book.ticks.end(tick, status, why, datetime.now(UTC))
    return book.ticks.get(tick.tick_id)


def _due_at(turn: Turn, now: datetime) -> datetime:
    """The time that this machine was launched for: its own boot does not make a tick late."""
    try:
        told = datetime.fromisoformat(turn.lease.tick)
    except ValueError:
        return now
    return min(told.astimezone(UTC), now) if told.tzinfo else now


def _attend(turn: Turn) -> None:
    """Wait for the ticks' processes, keeping the ledger in S3 up to date; on a spot notice have them stop."""
    said: queue.Queue[str] = queue.Queue()
    notice.watch(lambda found: said.put(str(found["kind"])))
    for child in turn.children:
        threading.Thread(target=_await, args=(child, said), daemon=True).start()
    while any(child.poll() is None for child in turn.children):
        with suppress(queue.Empty):
            if said.get(timeout=SAVED_EVERY_S) == "spot" and not turn.interrupted:
                turn.interrupted = True
                turn.tell("EC2 takes this machine back: the job is stopped")
                for child in turn.children:
                    child.terminate()
        turn.save()


def _settle(turn: Turn, book: Ledger, ticks: tuple[TickRecord, ...]) -> None:
    """Close what a process that is over left open; where EC2 took the machine back, nobody else stopped its jobs."""
    why = TAKEN_BACK if turn.interrupted else DIED
    status = TickStatus.CANCELLED if turn.interrupted else TickStatus.FAILED
    for tick in (book.ticks.get(tick.tick_id) for tick in ticks):
        if tick.open:
            _close(book, tick, status, why)
        elif turn.interrupted and tick.status is TickStatus.CANCELLED:
            book.ticks.wait(tick.tick_id, TAKEN_BACK)


def _await(child: subprocess.Popen[bytes], said: queue.Queue[str]) -> None:
    child.wait()
    said.put("ended")


def _send_results(turn: Turn, book: Ledger, tick: TickRecord) -> None:
    """A run's log, receipt and whatever it brought home, and what its process said; the weights are in the store."""
    home = Path(book.get(tick.run_id).results_dir) if tick.run_id else None
    files = {f"{tick.run_id}/{path.relative_to(home)}": path for path in _files(home)} if home else {}
    spoken = worker.log_file(turn.state, tick.schedule, tick.tick_id)
    if spoken.is_file():
        files[f"{tick.run_id or tick.tick_id}/launcher.log"] = spoken
    for name, path in files.items():
        _send(turn, f"{RESULTS}{name}", path)


def _send(turn: Turn, name: str, path: Path) -> None:
    try:
        with turn.aws.errors("keep what a machine said"):
            turn.aws.s3.upload_file(str(path), turn.unpacked.bucket, f"{turn.unpacked.prefix}{name}")
    except (GpurunError, OSError) as error:
        turn.tell(f"{name} was not kept: {error}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
