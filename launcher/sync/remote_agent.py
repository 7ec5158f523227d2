"""The job on the machine, from the laptop: start it, ask about it, signal it, hold its machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from launcher.domain import Device, FloatX, JobReport, JobUsage, TransferProgress
from launcher.errors import TransferError
from launcher.ports import Connection
from launcher.sync.layout import RemoteLayout
from launcher.sync.names import told
from launcher.sync.wire.frames import Json
from launcher.sync.wire.session import ask, install_agent, session


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
    deadline_epoch_s: float
    """When the machine ends; the job gets SIGTERM `grace_s` earlier. Zero: never."""
    results_grace_s: float
    """How long a finished job's machine waits for its results after its lease has lapsed."""
    lease_s: float
    keep_on_failure_s: float = 0.0
    owned: bool = True
    """Whether the machine is ours to power off."""


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


def signal(connection: Connection, layout: RemoteLayout, name: str) -> JobReport:
    """End the job: `TERM` with its grace, `KILL` at once; says how it was just before. Raises `RemoteError`."""
    with session(connection) as wire:
        return to_report(ask(wire, op="signal", run=layout.home, signal=name).get("report"))


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


def to_report(state: Json) -> JobReport:
    """What the agent says of the job; raises `TransferError` on nonsense."""
    try:
        exit_status, usage = state.get("exit_status"), state.get("usage")
        return JobReport(
            state=_state(state["state"]),
            exit_status=None if exit_status is None else _count(exit_status, 255),
            killed_by_memory=_flag(state.get("killed_by_memory", False)),
            usage=None if usage is None else _usage(usage),
            log_bytes=_count(state.get("log_bytes", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TransferError(f"the machine sent a report that is none: {told(repr(error))}") from None


_STATES = ("absent", "starting", "running", "done", "lost")
_SECONDS_LIMIT = 1e12
_COUNT_LIMIT = (1 << 63) - 1


def _state(value: Json) -> str:
    if value not in _STATES:
        raise ValueError(value)
    return str(value)


def _usage(usage: Json) -> JobUsage:
    return JobUsage(
        user_s=_seconds(usage["user_s"]),
        system_s=_seconds(usage["system_s"]),
        elapsed_s=_seconds(usage["elapsed_s"]),
        max_rss_kib=_count(usage["max_rss_kib"]),
        major_faults=_count(usage["major_faults"]),
        minor_faults=_count(usage["minor_faults"]),
        inputs=_count(usage["inputs"]),
        outputs=_count(usage["outputs"]),
    )


def _count(value: Json, limit: int = _COUNT_LIMIT) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(value)
    return value


def _seconds(value: Json) -> float:
    """To the microsecond, so that no quotient of two is beyond a float."""
    if type(value) not in {int, float} or not 0 <= value <= _SECONDS_LIMIT:
        raise ValueError(value)
    return round(float(value), 6)


def _flag(value: Json) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _figure(answer: dict[str, Json], name: str) -> int:
    try:
        return _count(answer.get(name))
    except ValueError as error:
        raise TransferError(f"the machine sent no {name} that is one: {told(repr(error))}") from None
