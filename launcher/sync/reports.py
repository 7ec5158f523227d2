"""What the agent says of a job, read strictly: nothing that a machine says is believed."""

from __future__ import annotations

from launcher.domain import Interruption, JobReport, JobUsage, Shipped
from launcher.errors import TransferError
from launcher.sync.names import told
from launcher.sync.wire.frames import Json


def to_report(state: Json) -> JobReport:
    """What the agent says of the job; raises `TransferError` on nonsense."""
    try:
        exit_status, usage = state.get("exit_status"), state.get("usage")
        told_of_end = state.get("interruption")
        return JobReport(
            state=_one_of(_STATES, state["state"]),
            exit_status=None if exit_status is None else count(exit_status, 255),
            killed_by_memory=_flag(state.get("killed_by_memory", False)),
            usage=None if usage is None else _usage(usage),
            log_bytes=count(state.get("log_bytes", 0)),
            ended_by=_one_of(_REASONS, state.get("ended_by", "")),
            interruption=None if told_of_end is None else to_interruption(told_of_end),
            shipped=None if state.get("shipped") is None else to_shipped(state["shipped"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TransferError(f"the machine sent a report that is none: {told(repr(error))}") from None


def to_interruption(noted: Json) -> Interruption:
    """What the agent says of the machine's end; raises `TransferError` on nonsense."""
    try:
        kind = _one_of(_KINDS, noted["kind"])
        announced = kind == "spot"
        return Interruption(
            kind=kind,
            action=_one_of(_ACTIONS, noted["action"]) if announced else "",
            noticed_at=_seconds(noted["noticed_at"]),
            ends_at=_seconds(noted["ends_at"]) if announced else None,
            ends_in_s=_seconds(noted["ends_in_s"]) if announced else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TransferError(f"the machine told of an end that is none: {told(repr(error))}") from None


def to_shipped(said: Json) -> Shipped:
    """What the agent says of what it has sent to a store; raises `TransferError` on nonsense."""
    try:
        age_s, failing_s = said["age_s"], said["failing_s"]
        return Shipped(
            generation=count(said["generation"]),
            segment=count(said["segment"]),
            files=count(said["files"]),
            size_bytes=count(said["size_bytes"]),
            final=_flag(said["final"]),
            age_s=None if age_s is None else _seconds(age_s),
            error_kind=_one_of(_PROBLEMS, said["error_kind"]),
            error=told(str(said["error"])),
            failing_s=None if failing_s is None else _seconds(failing_s),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TransferError(f"the machine told of shipping that is none: {told(repr(error))}") from None


_STATES = ("absent", "starting", "running", "done", "lost")
_REASONS = ("", "signal", "interruption", "deadline", "shutdown")
_KINDS = ("spot", "rebalance")
_PROBLEMS = ("", "refused", "unreachable", "changing", "disk", "unreadable")
_ACTIONS = ("terminate", "stop", "hibernate")
_SECONDS_LIMIT = 1e12
_COUNT_LIMIT = (1 << 63) - 1


def _one_of(words: tuple[str, ...], value: Json) -> str:
    if value not in words:
        raise ValueError(value)
    return str(value)


def _usage(usage: Json) -> JobUsage:
    return JobUsage(
        user_s=_seconds(usage["user_s"]),
        system_s=_seconds(usage["system_s"]),
        elapsed_s=_seconds(usage["elapsed_s"]),
        max_rss_kib=count(usage["max_rss_kib"]),
        major_faults=count(usage["major_faults"]),
        minor_faults=count(usage["minor_faults"]),
        inputs=count(usage["inputs"]),
        outputs=count(usage["outputs"]),
    )


def count(value: Json, limit: int = _COUNT_LIMIT) -> int:
    """A whole number from 0 to `limit`; raises `ValueError` for anything else."""
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
