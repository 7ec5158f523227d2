"""How a run on a machine of the user's own stands, asked of that machine; for runs that nobody attends."""

from __future__ import annotations

from launcher import spec as specs
from launcher.domain import JobReport, RunStatus
from launcher.errors import GpurunError
from launcher.ledger import RunRecord
from launcher.paths import StatePaths
from launcher.places.owned import address_of, lines_to
from launcher.sync import remote_agent
from launcher.sync.layout import RemoteLayout
from launcher.sync.ssh.keys import host_key_of

CONNECT_TIMEOUT_S = 5.0


def tell(record: RunRecord, state: StatePaths) -> tuple[str, str]:
    """A line on the run, and the next command; reads only, and tells of a machine that does not answer."""
    name = address_of(record).name
    who = "detached" if record.detached else "its launcher is gone"
    if record.status is RunStatus.TERMINATING:
        return f"what is left of it on {name} is to be removed", f"gpurun down {record.run_id}"
    if record.instance_id is None:
        return f"{who}; nothing of it is on {name}", f"gpurun resume {record.run_id}"
    try:
        told = _said(report(record, state), name, record)
    except GpurunError as error:
        told = f"{name} could not be asked: {error.message}"
    return f"{who}; {told}", f"gpurun resume {record.run_id}"


def report(record: RunRecord, state: StatePaths) -> JobReport:
    """What the agent says of the run's job; raises `GpurunError`."""
    keys = tuple(host_key_of(line) for line in (record.host_key_line or "").splitlines())
    lines = lines_to(address_of(record), specs.restore(record.spec), keys, state)
    try:
        return remote_agent.report(lines.control.fresh(CONNECT_TIMEOUT_S), RemoteLayout(record.run_id))
    finally:
        lines.close()


def _said(job: JobReport, name: str, record: RunRecord) -> str:
    if job.state in {"starting", "running"}:
        until = f", until {record.deadline_at:%Y-%m-%d %H:%M:%S} UTC at most" if record.deadline_at else ""
        return f"its job runs on {name}{until}"
    if job.state == "done":
        return f"its job has ended on {name} with status {job.exit_status}, and its results wait there"
    if job.state == "lost":
        return f"{name} lost its job: it rebooted, or the job's supervisor was killed; what it wrote waits there"
    return f"its job has not begun on {name}"
