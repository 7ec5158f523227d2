"""How a job ended, written down: as its machine told it, or as it had left it in S3."""

from __future__ import annotations

import signal
from dataclasses import asdict

from launcher import outputs
from launcher.domain import JobReport
from launcher.live import LiveRun


def record(live: LiveRun, report: JobReport) -> int:
    """Write down how the job ended; gives its exit status, 1 where none is known."""
    usage = asdict(report.usage) if report.usage else None
    exit_status = 1 if report.exit_status is None else report.exit_status
    # The row before the event: whoever finds that it is done finds how, too.
    live.update(exit_status=exit_status, reason=_reason(report))
    live.event("job.done", exit_status=report.exit_status, usage=usage, killed_by_memory=report.killed_by_memory)
    return exit_status


def bring_unseen(live: LiveRun) -> bool:
    """Bring home what a job that ended while nobody watched had sent to S3; whether there was such an end.

    Raises what S3 answers.
    """
    report = outputs.results(live)
    if report is not None:
        record(live, report)
    return report is not None


def _reason(report: JobReport) -> str:
    if report.killed_by_memory:
        return "the job was killed for memory: ask for a machine with more, resources.memory in the spec"
    if report.ended_by == "deadline":
        return "its time was up, by max_hours or max_cost; what it had saved is home"
    if report.ended_by == "shutdown":
        return "its machine shut down, or somebody ended the job's supervisor; what it had saved is home"
    if report.state == "lost":
        return "the machine lost the job: it rebooted, or its supervisor was killed"
    if report.exit_status == 128 + signal.SIGKILL:
        return "the job was killed by signal 9, most likely for memory: resources.memory in the spec asks for more"
    return f"the job exited with status {report.exit_status}" if report.exit_status else ""
