"""What is true of a run whose launcher is gone: the EC2 tag says, the ledger only remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from launcher import process
from launcher.aws import fleet
from launcher.aws.client import Aws
from launcher.domain import AWS, Instance, RunStatus, Segment
from launcher.ledger import Ledger, RunRecord, account_from_text
from launcher.paths import StatePaths
from launcher.places import standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A run as the ledger has it, and as EC2 has it."""

    record: RunRecord
    attended: bool
    """Whether a launcher process of this laptop is working on it now."""
    instances: tuple[Instance, ...] = ()
    asked: bool = False
    reason: str = ""
    """Why its machine ended, by EC2's code; empty while it has not."""
    note: str = ""
    next_command: str = ""


def observe(record: RunRecord, state: StatePaths, segments: Sequence[Segment] = ()) -> Truth:
    """Look a run and its machines up in EC2, or on the user's own machine, where its launcher is gone; reads only.

    Raises what AWS answers when it cannot be asked.
    """
    if record.status.final:
        return Truth(record=record, attended=False)
    if process.alive(record.launcher_pid, record.launcher_started):
        return Truth(record=record, attended=True)
    if record.place != AWS:
        note, next_command = standing.tell(record, state)
        return Truth(record=record, attended=False, note=note, next_command=next_command)
    aws = Aws(account_from_text(record.account), record.region)
    regions = {record.region, *(each.region for each in segments if each.ended_at is None)}
    found = [each for region in sorted(regions) for each in fleet.find(aws.at(region), run_id=record.run_id)]
    instances = tuple(each for each in found if not each.gone)
    mine = [each.state_reason for each in found if each.instance_id == record.instance_id]
    reason = mine[0].partition(":")[0] if mine else ""
    note, next_command = _judge(record, instances, reason)
    return Truth(
        record=record,
        attended=False,
        instances=instances,
        asked=True,
        reason=reason,
        note=note,
        next_command=next_command,
    )


def _judge(record: RunRecord, instances: tuple[Instance, ...], reason: str) -> tuple[str, str]:
    resume = f"gpurun resume {record.run_id}"
    until = f"until {record.deadline_at:%Y-%m-%d %H:%M:%S} UTC" if record.deadline_at else "with no deadline"
    if instances:
        who = instances[0]
        how = "detached" if record.detached else "its launcher is gone"
        return f"{how}; {who.instance_id} ({who.instance_type}) is {who.state}, {until} at most", resume
    if record.status in {RunStatus.PLANNED, RunStatus.PROVISIONING, RunStatus.INTERRUPTED}:
        return "its launcher is gone and no machine carries its tag", resume
    if _goes_on(record, reason):
        return f"its machine was taken ({reason}); the run can go on from its last checkpoint", resume
    return "its machine is gone", resume


def _goes_on(record: RunRecord, reason: str) -> bool:
    """Whether another machine may take over: not where somebody ended this one, or time is up."""
    in_time = record.deadline_at is not None and record.deadline_at > datetime.now(UTC)
    return reason.startswith("Server.") and in_time and record.status is not RunStatus.TERMINATING


def settle(record: RunRecord, ledger: Ledger, truth: Truth) -> RunRecord:
    """Write down what EC2 said, where that ends the machine's part: a run without a machine is not `running`.

    One whose machine was taken back stays as it is: `gpurun resume` goes on with it.
    """
    ended = truth.asked and not truth.instances
    record = ledger.get(record.run_id)  # another command may have ended it while EC2 was asked
    if record.status.final:
        return record
    unowned = {RunStatus.PLANNED, RunStatus.PROVISIONING, RunStatus.INTERRUPTED}
    if not ended or record.status in unowned | {RunStatus.TERMINATING}:
        return record
    if _goes_on(record, truth.reason):
        return record
    ledger.event(record.run_id, "machine.gone", {"why": _why_gone(record, truth.reason)})
    ledger.advance(record.run_id, RunStatus.TERMINATING)
    return ledger.get(record.run_id)


def _why_gone(record: RunRecord, reason: str) -> str:
    """In the run's own words: what EC2 says, and whether its deadline has come."""
    told = f"its machine was gone ({reason})" if reason else "its machine was gone"
    past = record.deadline_at is not None and record.deadline_at <= datetime.now(UTC)
    return f"{told}; its time was up, by max_hours or max_cost" if past and reason.startswith("Client.") else told
