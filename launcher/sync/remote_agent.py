"""The job on the machine, from the laptop: start it, ask about it, signal it, hold its machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from launcher.domain import Device, FloatX, JobReport, LegOrder, TransferProgress
from launcher.errors import TransferError
from launcher.ports import Connection
from launcher.sync.layout import RemoteLayout
from launcher.sync.names import told
from launcher.sync.reports import count, to_report
from launcher.sync.wire.frames import Json
from launcher.sync.wire.session import ask, install_agent, session

__all__ = [
    "AgentJob",
    "RemoteObject",
    "ask_checkpoint",
    "discard",
    "fetch_urls",
    "free_bytes",
    "grant",
    "install",
    "release",
    "renew",
    "report",
    "signal",
    "start",
    "stop_in",
    "to_report",
]

STOP_RESERVE_S = 45.0
"""Enough to save once more: most of EC2's two minutes is the job's to train on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentJob:
    """What the agent must know to run a job; exactly one of `argv` and `script` is given."""

    argv: Sequence[str] = ()
    script: str = ""
    """For `bash -e -o pipefail`."""
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """More environment, which is written nowhere: it goes through pipes into the job's own."""
    device: Device
    floatx: FloatX
    grace_s: float
    """Between SIGTERM and SIGKILL."""
    deadline_in_s: float
    """From now, when the job must have ended; it gets SIGTERM `grace_s` earlier. Zero: never."""
    machine_deadline_in_s: float = 0.0
    """From now, when the machine, if `owned`, powers itself off, job or no job. Zero: never."""
    stop_reserve_s: float = STOP_RESERVE_S
    """How long before the machine's announced end the job gets SIGTERM, unless `stop_in` says otherwise."""
    results_grace_s: float
    """How long a finished job's machine waits for its results after its lease has lapsed."""
    lease_s: float
    keep_on_failure_s: float = 0.0
    durable: bool = False
    """Whether the machine sends checkpoints, results and log to a store by itself, by what `grant` brought."""
    owned: bool = True
    """Whether the machine is ours to power off."""
    notices: bool = True
    """Whether the cloud's notices of the machine's end are listened for."""
    legs: Sequence[LegOrder] = ()
    """Executed in turn and measured, `repeats` times, in the place of the one command; see docs/compare.md."""
    repeats: int = 1


class RemoteObject(Protocol):
    """A file that the machine itself downloads."""

    @property
    def name(self) -> str:
        """Relative to the data folder."""

    @property
    def size_bytes(self) -> int:
        """As the store announces it."""

    @property
    def url(self) -> str:
        """Presigned: a credential, never to be shown."""


def install(connection: Connection, layout: RemoteLayout) -> None:  # noqa: ARG001  (one agent serves every run)
    """Put the agent on the machine, under its content's hash; raises `RemoteError` where there is no python3."""
    install_agent(connection)


def start(connection: Connection, layout: RemoteLayout, job: AgentJob) -> JobReport:
    """Start the job; one that was started is left alone. Returns when its supervisor has confirmed it.

    Raises `RemoteError`.
    """
    with session(connection) as wire:
        return to_report(ask(wire, op="start", run=layout.home, job=asdict(job)).get("report"))


def report(connection: Connection, layout: RemoteLayout) -> JobReport:
    """How the job is; raises `RemoteError`."""
    with session(connection) as wire:
        return to_report(ask(wire, op="report", run=layout.home).get("report"))


def renew(connection: Connection, layout: RemoteLayout, lease_s: float) -> None:
    """Hold the machine for `lease_s` from now; raises `RemoteError`."""
    with session(connection) as wire:
        ask(wire, op="renew", run=layout.home, lease_s=lease_s)


def release(connection: Connection, layout: RemoteLayout) -> None:
    """The results are home: the machine waits no longer than `keep_on_failure_s` says; raises `RemoteError`."""
    with session(connection) as wire:
        ask(wire, op="release", run=layout.home)


def discard(connection: Connection, layout: RemoteLayout, *, remove: bool) -> None:
    """End the job at once, with no grace, and remove all of the run from the machine if `remove`.

    What was not brought home is lost with it. Raises `RemoteError`.
    """
    with session(connection) as wire:
        ask(wire, op="discard", run=layout.home, remove=remove)


def grant(connection: Connection, layout: RemoteLayout, form: dict[str, Json]) -> None:
    """Let the machine send to a store, or go on with that: `durable.Grant.form`, a credential. Raises `RemoteError`."""
    with session(connection) as wire:
        ask(wire, op="grant", run=layout.home, grant=form)


def signal(connection: Connection, layout: RemoteLayout, name: str, *, why: str = "signal") -> JobReport:
    """End the job: `TERM` with its grace, `KILL` at once; says how it was just before. Raises `RemoteError`.

    `why`, `signal` or `interruption`, becomes the report's `ended_by`.
    """
    with session(connection) as wire:
        return to_report(ask(wire, op="signal", run=layout.home, signal=name, why=why).get("report"))


def stop_in(connection: Connection, layout: RemoteLayout, seconds: float, *, why: str = "interruption") -> JobReport:
    """Have the job asked to end `seconds` from now, in the place of the moment that was planned for `why`.

    It is never later than 5 s before an announced end of the machine. A job whose supervisor died is not stopped.
    Says how it was just before. Raises `RemoteError`.
    """
    with session(connection) as wire:
        return to_report(ask(wire, op="stop_in", run=layout.home, in_s=seconds, why=why).get("report"))


def ask_checkpoint(connection: Connection, layout: RemoteLayout) -> int:
    """Ask the job to save a checkpoint and go on (SIGUSR1); how many of its processes understand that.

    Raises `RemoteError`.
    """
    with session(connection) as wire:
        return _figure(ask(wire, op="checkpoint", run=layout.home), "asked")


def free_bytes(connection: Connection, layout: RemoteLayout) -> int:
    """What may still be written on the machine; raises `RemoteError`."""
    with session(connection) as wire:
        return _figure(ask(wire, op="free", root=layout.home), "free_bytes")


def fetch_urls(
    connection: Connection,
    layout: RemoteLayout,
    objects: Sequence[RemoteObject],
    report: Callable[[TransferProgress], None] | None = None,
    label: str = "data",
) -> None:
    """Have the machine download `objects` into the data folder, each to its announced size; raises `RemoteError`."""
    total_bytes = sum(item.size_bytes for item in objects)
    listed = [{"name": item.name, "url": item.url, "size_bytes": item.size_bytes} for item in objects]
    with session(connection) as wire:
        answer = ask(wire, op="fetch", root=layout.data, objects=listed)
        while not answer.get("end"):
            if report:
                report(
                    TransferProgress(
                        label=label,
                        done_bytes=_figure(answer, "fetched_bytes"),
                        total_bytes=total_bytes,
                        done_files=_figure(answer, "fetched_files"),
                        total_files=len(objects),
                    )
                )
            answer = wire.receive_json()


def _figure(answer: dict[str, Json], name: str) -> int:
    try:
        return count(answer.get(name))
    except ValueError as error:
        raise TransferError(f"the machine sent no {name} that is one: {told(repr(error))}") from None
