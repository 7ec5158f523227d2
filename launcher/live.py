"""A run being worked on: its ledger row, its spec and plan, and the tools to drive it with."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Unpack

from pydantic import TypeAdapter

from launcher import spec as specs
from launcher.aws.client import Aws
from launcher.domain import AWS, Account, Endpoint, HostKey, Instance, JobSpec, Plan, RunId, RunStatus
from launcher.errors import LedgerError
from launcher.interrupts import Signals
from launcher.ledger import Ledger, RunChanges, RunRecord, account_from_text
from launcher.paths import RunPaths, StatePaths
from launcher.phases import Phases
from launcher.ports import Lines, Reporter
from launcher.sync.layout import RemoteLayout
from launcher.sync.ssh import keys, known_hosts


@functools.cache
def _plans() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def dump_plan(plan: Plan) -> str:
    """A plan as the ledger keeps it."""
    return _plans().dump_json(plan).decode()


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """Everything that a step of a run needs."""

    record: RunRecord
    spec: JobSpec
    plan: Plan
    cloud: Aws | None
    """Who is asked for what AWS has; `None`: nobody yet, on a machine of the user's own."""
    ledger: Ledger
    state: StatePaths
    reporter: Reporter
    phases: Phases
    signals: Signals
    lines: Lines | None = None

    @property
    def aws(self) -> Aws:
        """The run's account in its region; raises what its configuration lacks where it was not needed before."""
        if self.cloud is None:
            self.cloud = Aws(account_from_text(self.record.account), self.record.region or None)
        return self.cloud

    @property
    def run_id(self) -> RunId:
        """The run's id."""
        return self.record.run_id

    @property
    def paths(self) -> RunPaths:
        """The run's private folder."""
        return self.state.run(self.run_id)

    @property
    def layout(self) -> RemoteLayout:
        """Where things lie on the machine."""
        return RemoteLayout(self.run_id)

    @property
    def deadline(self) -> datetime:
        """When the machine ends, whatever happens."""
        if self.record.deadline_at is None:
            message = f"run {self.run_id} has no deadline"
            raise LedgerError(message, hint=f"gpurun down {self.run_id}")
        return self.record.deadline_at

    def update(self, **columns: Unpack[RunChanges]) -> None:
        """Write columns of the run's row and read it anew."""
        self.ledger.update(self.run_id, **columns)
        self.refresh()

    def advance(self, status: RunStatus, **columns: Unpack[RunChanges]) -> None:
        """Move the run on, columns with it."""
        self.ledger.advance(self.run_id, status, **columns)
        self.refresh()

    def refresh(self) -> None:
        """Read the row anew: a signal may have come between a write and the reading of it."""
        self.record = self.ledger.get(self.run_id)

    def event(self, kind: str, **data: Any) -> None:
        """Write down what is about to happen, or what did; of a later machine than the first with its `segment`."""
        if self.record.segment > 1:
            data.setdefault("segment", self.record.segment)
        self.ledger.event(self.run_id, kind, data)

    def note_calls(self) -> None:
        """Write down how many requests went to AWS since this was last done."""
        count = self.cloud.calls.take() if self.cloud is not None else 0
        if count:
            self.event("api.calls", count=count)

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What the run's events of one kind say, in order."""
        return [event.data for event in self.ledger.events(self.run_id) if event.kind == kind]

    def has_event(self, kind: str) -> bool:
        """Whether such an event was ever written for this run."""
        return bool(self.told(kind))

    def here(self, kind: str) -> bool:
        """Whether such an event was written of the run's present machine."""
        return any(data.get("segment", 1) == self.record.segment for data in self.told(kind))

    def endpoint(self, instance: Instance) -> Endpoint:
        """Where the machine answers, and with which host key."""
        account = account_from_text(self.record.account)
        return Endpoint(
            address=instance.public_address or instance.private_address or "",
            user=self.spec.ssh.user,
            host_keys=self.pinned(),
            key_file=self.spec.ssh.key or self.paths.key,
            config_file=self.spec.ssh.config_file or account.ssh_config_file,
            proxy=self.spec.ssh.proxy,
        )

    def pinned(self) -> tuple[HostKey, ...]:
        """The host keys that the machine may show."""
        return tuple(keys.host_key_of(line) for line in (self.record.host_key_line or "").splitlines())

    def take_lines(self, lines: Lines) -> None:
        """Make these the run's lines, and let ssh find the machine by the run's name."""
        self.lines = lines
        endpoint = lines.endpoint
        if endpoint is None:
            return
        known_hosts.write_run_config(self.paths, run_id=self.run_id, name=self.record.name, endpoint=endpoint)
        known_hosts.write_index(self.state)

    def hang_up(self) -> None:
        """Close the lines, if any are open."""
        if self.lines is not None:
            self.lines.close()
            self.lines = None


def restore(record: RunRecord, *, ledger: Ledger, state: StatePaths, reporter: Reporter) -> LiveRun:
    """A run from its ledger row, to be resumed, fetched from or ended.

    Raises `LedgerError` when the row holds no plan: the launcher died before it had one.
    """
    if record.plan is None:
        raise LedgerError(f"run {record.run_id} was never planned", hint=f"gpurun down {record.run_id}")
    account: Account = account_from_text(record.account)
    return LiveRun(
        record=record,
        spec=specs.restore(record.spec),
        plan=_plans().validate_json(record.plan),
        cloud=Aws(account, record.region) if record.place == AWS else None,
        ledger=ledger,
        state=state,
        reporter=reporter,
        phases=Phases(ledger, record.run_id, reporter),
        signals=Signals(reporter.warn),
    )


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
