"""From the folders that came home to trials. Whatever lies there was written by a machine that may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from launcher import weights
from launcher.compare.course import ERRORS, Course
from launcher.compare.untrusted import (
    MOST,
    Unreadable,
    count,
    folder_inside,
    mapping,
    number,
    of,
    open_file,
    seconds,
    text,
)
from launcher.comparison import GpuUse, Leg, Machine, Trial, TrialState
from launcher.domain import Device, JobUsage

FOLDER = "legs"
TRIAL, RESULT, METRICS = "gpurun-trial.json", "result.json", "metrics.jsonl"
TRIAL_BYTES, RESULT_BYTES = 256 << 10, 4 << 20
MOST_VERSIONS = 40
KEEP = 1_000
"""Points of a trial."""
KEEP_IN_ALL = 60_000
"""Points of a comparison: they are stored, and drawn."""
_COUNTED = ("max_rss_kib", "major_faults", "minor_faults", "inputs", "outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a trial's folder holds, read but not yet judged."""

    folder: Path
    result: Mapping[str, Any]
    course: Course
    notes: tuple[str, ...] = field(default=())


def trials(results: Path, legs: Sequence[Leg], repeats: int, *, target: float | None = None) -> tuple[Trial, ...]:
    """Every leg's trials 1 to `repeats`, from `results`/legs/LEG/REPEAT; never raises for what lies there.

    A trial whose folder or record is not there is `MISSING`; one whose record cannot be read is `FAILED`, with the
    reason. What its other files lack or have wrong leaves figures out, and is told in its notes.
    """
    keep = max(32, min(KEEP, KEEP_IN_ALL // max(1, len(legs) * repeats)))
    return tuple(_trial(results, leg, repeat, target, keep) for leg in legs for repeat in range(1, repeats + 1))


def _trial(results: Path, leg: Leg, repeat: int, target: float | None, keep: int) -> Trial:
    try:
        folder = folder_inside(results, FOLDER, leg.name, str(repeat))
        record = mapping(folder, TRIAL, TRIAL_BYTES) if folder else None
    except FileNotFoundError:
        record = None
    except Unreadable as fault:
        return Trial(leg=leg.name, repeat=repeat, state=TrialState.FAILED, reason=str(fault))
    if folder is None or record is None:
        return Trial(leg=leg.name, repeat=repeat, state=TrialState.MISSING, reason="the run ended before it was done")
    try:
        trial = recorded(record, leg, repeat)
    except Unreadable as fault:
        return Trial(leg=leg.name, repeat=repeat, state=TrialState.FAILED, reason=f"{TRIAL}: {fault}")
    if trial.state is TrialState.NO_DEVICE:
        return trial
    return _judged(_with_figures(trial, _told(folder, trial, target, keep), results), leg)


def recorded(record: Mapping[str, Any], leg: Leg, repeat: int) -> Trial:
    """The trial as the agent's own record has it; raises `Unreadable`."""
    if record.get("leg") != leg.name or count(record.get("repeat")) != repeat:
        said = f"leg {text(record.get('leg'), 60)!r}, repeat {text(str(record.get('repeat')), 20)}"
        raise Unreadable(f"it is of another trial ({said})")
    try:
        state = TrialState(record.get("state", ""))
    except (ValueError, TypeError):
        raise Unreadable(f"it says {text(str(record.get('state')), 40)!r}, expected done or failed") from None
    status = record.get("exit_status")
    exit_status = status if isinstance(status, int) and not isinstance(status, bool) and abs(status) < MOST else None
    reason = text(record.get("reason"), 500)
    if state is TrialState.DONE and exit_status != 0:
        state, reason = TrialState.FAILED, reason or f"it says that it is done, with the exit status {exit_status}"
    if state is not TrialState.DONE and not reason:
        reason = f"it exited with status {exit_status}" if exit_status else str(state)
    last_line = text(record.get("last_line"), 200)
    if state is TrialState.FAILED and last_line:
        reason = f"{reason}; its last line: {last_line}"
    return Trial(
        leg=leg.name,
        repeat=repeat,
        state=state,
        reason="" if state is TrialState.DONE else reason,
        exit_status=exit_status,
        began_at=_moment(record.get("began_at")),
        usage=_usage(of(record.get("usage"))),
        gpu=_gpu(of(record.get("gpu"))),
        machine=_machine(of(record.get("machine"))),
        again=count(record.get("again")) or 0,
    )


def _told(folder: Path, trial: Trial, target: float | None, keep: int) -> Told:
    """What the job itself left behind."""
    began_at_s = trial.began_at.timestamp() if trial.began_at else 0.0
    elapsed_s = trial.usage.elapsed_s if trial.usage else None
    course = Course(began_at_s=began_at_s, elapsed_s=elapsed_s, target=target, keep=keep)
    notes: list[str] = []
    result: Mapping[str, Any] = {}
    try:
        result = mapping(folder, RESULT, RESULT_BYTES)
    except FileNotFoundError:
        pass
    except Unreadable as fault:
        notes.append(str(fault))
    try:
        with open_file(folder, METRICS) as file:
            if trial.began_at:
                course.read(file)
            else:
                notes.append(f"{METRICS} is passed over: nobody knows when the trial began")
    except FileNotFoundError:
        pass
    except (Unreadable, OSError) as fault:
        notes.append(f"{METRICS}: {fault}")
    return Told(folder=folder, result=result, course=course, notes=(*notes, *course.notes()))


def _with_figures(trial: Trial, told: Told, results: Path) -> Trial:
    result, course = told.result, told.course
    error = next((number(result[name]) for name in sorted(ERRORS) if name in result), None)
    samples = count(of(result.get("rows")).get("train"), 1)
    epochs, steps = _epochs(told), _steps(told)
    epoch_s = _epoch_s(course, steps, epochs)
    warm_up_s = _warm_up_s(told, steps)
    train_s = _told_s(told)
    if train_s is None and course.first and course.last:
        train_s = seconds(course.last.at_s - course.first.at_s)
    durations = course.epoch_durations_s()
    return replace(
        trial,
        notes=told.notes,
        device_told=_device(result.get("device")),
        points=tuple(course.points),
        diverged_at_step=course.diverged_at_step,
        epochs=epochs,
        steps=steps,
        samples=samples,
        ready_s=seconds(course.first_s),
        warm_up_s=warm_up_s,
        train_s=train_s or None,
        first_epoch_s=seconds(durations[0] + (warm_up_s or 0.0)) if durations else None,
        epoch_s=epoch_s,
        samples_per_s=number(samples / epoch_s) if samples and epoch_s else None,
        final_cost=_first_of(number(result.get("cost")), course.last.cost if course.last else None),
        final_error=_first_of(error, course.last.error if course.last else None),
        target_s=seconds(course.target_s),
        versions=_versions(of(result.get("versions"))),
        weights=_weights(told.folder, results),
    )


def _judged(trial: Trial, leg: Leg) -> Trial:
    """A trial that says itself that it ran elsewhere is not done, whatever its record says."""
    if trial.state is not TrialState.DONE or trial.device_told in {"", leg.device}:
        return trial
    reason = f"it was told to use the {leg.device}, and says that it used the {trial.device_told}"
    return replace(trial, state=TrialState.WRONG_DEVICE, reason=reason)


def _told_s(told: Told) -> float | None:
    """The seconds of the training alone, as the job tells them; none where they cannot be true."""
    found, elapsed_s = seconds(told.result.get("seconds")), told.course.elapsed_s
    return None if elapsed_s is not None and found is not None and found > elapsed_s else found or None


def _steps(told: Told) -> int | None:
    last = told.course.last
    return count(told.result.get("steps"), 1) or (last.step + 1 if last else None)


def _epochs(told: Told) -> float | None:
    """As the job tells; else as many as its figures name. Where they come in fractions, the last one's."""
    course = told.course
    found = number(told.result.get("epochs"), 0, MOST)
    if found is not None or course.last is None or course.first is None:
        return found
    if course.last.epoch.is_integer() and course.first.epoch.is_integer():
        return course.last.epoch - course.first.epoch + 1
    return course.last.epoch


def _epoch_s(course: Course, steps: int | None, epochs: float | None) -> float | None:
    """The median of the epochs after the first; of a training with too few of them, by the pace of its steps."""
    later = course.epoch_durations_s()[1:]
    if later:
        return seconds(median(later)) or None
    pace = _step_s(course)
    return seconds(pace * steps / epochs) or None if pace and steps and epochs and not course.several_stages else None


def _warm_up_s(told: Told, steps: int | None) -> float | None:
    """What the training took beyond its steps at the steady pace: compilation, and the first use of the device.

    The steps before the first figure and after the last one are not measured; they count at the pace of the others.
    """
    course, train_s, pace = told.course, _told_s(told), _step_s(told.course)
    if train_s is None or pace is None or not course.first or not course.last or not steps or course.several_stages:
        return None
    unseen = steps - (course.last.step - course.first.step)
    return seconds(max(0.0, train_s - (course.last.at_s - course.first.at_s) - unseen * pace))


def _step_s(course: Course) -> float | None:
    if not course.first or not course.last or course.last.step == course.first.step:
        return None
    return (course.last.at_s - course.first.at_s) / (course.last.step - course.first.step)


def _moment(value: Any) -> datetime | None:
    found = number(value, 0, 1e11)
    return None if found is None else datetime.fromtimestamp(found, UTC)


def _usage(found: Mapping[str, Any]) -> JobUsage | None:
    """All of it or nothing: half of the figures that `time` prints would mislead."""
    times = [seconds(found.get(name)) for name in ("user_s", "system_s", "elapsed_s")]
    counts = [count(found.get(name)) for name in _COUNTED]
    user_s, system_s, elapsed_s = times
    if user_s is None or system_s is None or elapsed_s is None:
        return None
    known = {name: value for name, value in zip(_COUNTED, counts, strict=True) if value is not None}
    if len(known) < len(_COUNTED):
        return None
    return JobUsage(user_s=user_s, system_s=system_s, elapsed_s=elapsed_s, **known)


def _gpu(found: Mapping[str, Any]) -> GpuUse | None:
    samples, memory = count(found.get("samples")), count(found.get("max_memory_bytes"))
    if samples is None or memory is None:
        return None
    return GpuUse(
        name=text(found.get("name")),
        driver=text(found.get("driver"), 60),
        samples=samples,
        mean_percent=number(found.get("mean_percent"), 0, 100),
        max_memory_bytes=memory,
        by_job=found.get("by_job") is True,
    )


def _machine(found: Mapping[str, Any]) -> Machine | None:
    if not found:
        return None
    words = {each.name: text(found.get(each.name)) for each in fields(Machine) if each.type == "str"}
    counts = {name: count(found.get(name)) or 0 for name in ("vcpus", "memory_bytes")}
    return Machine(**words, **counts)  # type: ignore[arg-type]  # the names say which


def _versions(found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    every = ((text(name, 60), text(value, 120)) for name, value in list(found.items())[:MOST_VERSIONS])
    return tuple((name, value) for name, value in every if name and value)


def _device(value: Any) -> str:
    """`cpu` or `gpu`, for cuda, rocm and numbered ones too; else its own word."""
    word = text(value, 40).lower()
    kind = word.strip("/").rpartition("device:")[2].partition(":")[0]
    return {"cuda": "gpu", "rocm": "gpu", "gpu": "gpu", "cpu": "cpu"}.get(
        kind, "" if word not in tuple(Device) else word
    )


def _weights(folder: Path, results: Path) -> str:
    """The trial's weights, by their path in the results: those of that name, else the newest file that may be some."""
    try:
        found = [path for path in weights.find(folder) if path.name != "inputs.npz"]
    except OSError:
        return ""
    named = [path for path in found if path.parent == folder and path.stem == "weights"]
    chosen = (named or found)[:1]
    return text(str(chosen[0].relative_to(results)), 500) if chosen else ""


def _first_of(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
