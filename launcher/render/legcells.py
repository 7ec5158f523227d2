"""A comparison's legs as cells of text: the same columns for the terminal, for a pipe and for the page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from launcher.comparison import LegResult, Trial, TrialState
from launcher.domain import JobUsage
from launcher.render.figures import NONE, NOTHING, clean, dollars, figure, median, percent, seconds
from launcher.render.text import size


class Group(StrEnum):
    """Columns that belong side by side."""

    WHAT = "what"
    TIME = "time"
    MONEY = "money"
    USE = "use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table of legs."""

    heading: str
    group: Group
    cell: Callable[[LegResult], str]
    meaning: str
    """For who points at the heading."""
    spare: int = 0
    """Where room is short, what can be reckoned from others goes, in the order of this number; 0: it stays."""


def leg_columns(results: Sequence[LegResult]) -> list[Column]:
    """Those in which at least one leg has something to tell; the leg's name is the first."""
    shown = [each for each in COLUMNS if any(each.cell(result) not in {NONE, NOTHING} for result in results)]
    return shown or [COLUMNS[0]]


def untold_by_name(columns: Sequence[Column], results: Sequence[LegResult]) -> list[Column]:
    """Without device, floatX and backend where each leg's name says them: the first to go where room is short."""
    if not all(result.leg.name.startswith(f"{result.leg.device}-{result.leg.floatx}") for result in results):
        return list(columns)
    backends = all(result.leg.backend in result.leg.name for result in results)
    gone = {"device", "floatX", "backend"} if backends else {"device", "floatX"}
    return [column for column in columns if column.heading not in gone]


def is_done(result: LegResult) -> bool:
    """Whether at least one of its trials is."""
    return result.state is TrialState.DONE


def why_not(result: LegResult) -> str:
    """Why a leg has no figures, in plain words; empty: it has."""
    if is_done(result):
        return ""
    return clean(f"{result.state}: {result.reason}" if result.reason else SAID[result.state])


def where_to_look(result: LegResult) -> str:
    """The command that shows what a leg wrote that was run and does not count; empty: there is nothing to see."""
    went_wrong = result.state in {TrialState.FAILED, TrialState.WRONG_DEVICE}
    return f"gpurun logs {clean(result.run_id)}" if went_wrong and result.run_id else ""


def middle_trial(result: LegResult) -> Trial | None:
    """The done trial whose elapsed time is the median, the lower one of two: a real one, whose parts add up."""
    timed = sorted(result.done, key=lambda trial: trial.usage.elapsed_s if trial.usage else float("inf"))
    return timed[(len(timed) - 1) // 2] if timed else None


SAID = {
    TrialState.DONE: "done",
    TrialState.FAILED: "failed, and left no word of why",
    TrialState.NO_DEVICE: "no device: its machine has no GPU, so it was not run",
    TrialState.WRONG_DEVICE: "wrong device: it ran on another one than it was told to",
    TrialState.MISSING: "missing: the run ended before it",
}


def _used(field: Callable[[Trial], float | None]) -> Callable[[LegResult], float | None]:
    def middle(result: LegResult) -> float | None:
        told = [value for trial in result.done if (value := field(trial)) is not None]
        return statistics.median(told) if told else None

    return middle


def _cpu_percent(usage: JobUsage) -> float | None:
    """Not rounded, and never an error, whatever a machine told."""
    return (usage.user_s + usage.system_s) / usage.elapsed_s * 100 if usage.elapsed_s else None


_user = _used(lambda trial: trial.usage.user_s if trial.usage else None)
_system = _used(lambda trial: trial.usage.system_s if trial.usage else None)
_cpu = _used(lambda trial: _cpu_percent(trial.usage) if trial.usage else None)
_memory = _used(lambda trial: trial.usage.max_rss_kib * 1024 if trial.usage else None)
_major = _used(lambda trial: trial.usage.major_faults if trial.usage else None)
_minor = _used(lambda trial: trial.usage.minor_faults if trial.usage else None)
_gpu = _used(lambda trial: trial.gpu.mean_percent if trial.gpu and trial.gpu.by_job else None)
_gpu_memory = _used(lambda trial: trial.gpu.max_memory_bytes if trial.gpu and trial.gpu.by_job else None)


def _bytes(value: float | None) -> str:
    return NONE if value is None else size(int(value))


def _faults(result: LegResult) -> str:
    major, minor = _major(result), _minor(result)
    return NONE if major is None or minor is None else f"{major:,.0f}+{minor:,.0f}"


def _price(result: LegResult) -> str:
    """Nothing an hour is the price of one's own machine alone: where AWS gave none, nobody knows it."""
    known = result.price_usd_per_hour or (result.run_id and result.leg.on_own_machine)
    return dollars(result.price_usd_per_hour) if known else NONE


COLUMNS = (
    Column(heading="leg", group=Group.WHAT, cell=lambda r: clean(r.leg.name), meaning="one way to run the job"),
    Column(heading="device", group=Group.WHAT, cell=lambda r: r.leg.device.value, meaning="where it was told to run"),
    Column(heading="floatX", group=Group.WHAT, cell=lambda r: r.leg.floatx.value, meaning="floating-point type"),
    Column(heading="backend", group=Group.WHAT, cell=lambda r: clean(r.leg.backend) or NONE, meaning="Keras's backend"),
    Column(heading="machine", group=Group.WHAT, cell=lambda r: clean(r.machine or r.leg.place), meaning="where it ran"),
    Column(
        heading="elapsed s",
        group=Group.TIME,
        cell=lambda r: seconds(median(r.elapsed_s)) if is_done(r) else r.state.value,
        meaning="from start to end, as `time` tells; the median of the repeats",
    ),
    Column(
        heading="train s",
        group=Group.TIME,
        cell=lambda r: seconds(median(r.train_s)),
        meaning="of the training alone",
    ),
    Column(
        heading="warm-up s",
        group=Group.TIME,
        cell=lambda r: seconds(median(r.warm_up_s)),
        meaning="of the training, what its steps do not take at the steady pace: compilation, first use of the device",
        spare=3,
    ),
    Column(
        heading="epoch s",
        group=Group.TIME,
        cell=lambda r: seconds(median(r.epoch_s)),
        meaning="median of the epochs after the first, which compiles",
    ),
    Column(
        heading="target s",
        group=Group.TIME,
        cell=lambda r: seconds(median(r.target_s)),
        meaning="until the error was at or below the target",
    ),
    Column(
        heading="samples/s",
        group=Group.TIME,
        cell=lambda r: figure(median(r.samples_per_s)),
        meaning="training rows a second in the steady state",
        spare=6,
    ),
    Column(
        heading="error",
        group=Group.TIME,
        cell=lambda r: figure(r.final_error),
        meaning="at the end",
    ),
    Column(
        heading="cost",
        group=Group.TIME,
        cell=lambda r: figure(r.final_cost),
        meaning="what the training makes small, at the end",
        spare=2,
    ),
    Column(
        heading="$/h",
        group=Group.MONEY,
        cell=_price,
        meaning="of the machine with its disk and address when it was made",
    ),
    Column(
        heading="$/run",
        group=Group.MONEY,
        cell=lambda r: dollars(r.usd_per_run),
        meaning="what the elapsed time costs, without the machine's boot",
    ),
    Column(
        heading="$/epoch",
        group=Group.MONEY,
        cell=lambda r: dollars(r.usd_per_epoch),
        meaning="what an epoch costs",
        spare=4,
    ),
    Column(
        heading="$/target",
        group=Group.MONEY,
        cell=lambda r: dollars(r.usd_to_target),
        meaning="what it costs until the target",
    ),
    Column(heading="user s", group=Group.USE, cell=lambda r: seconds(_user(r)), meaning="processor time in programs"),
    Column(
        heading="sys s", group=Group.USE, cell=lambda r: seconds(_system(r)), meaning="processor time in the kernel"
    ),
    Column(
        heading="%CPU",
        group=Group.USE,
        cell=lambda r: percent(_cpu(r)),
        meaning="processor time over elapsed time; 200: two cores all the time",
    ),
    Column(heading="memory", group=Group.USE, cell=lambda r: _bytes(_memory(r)), meaning="most that was resident"),
    Column(heading="faults", group=Group.USE, cell=_faults, meaning="page faults, major + minor, as `time`", spare=1),
    Column(
        heading="GPU %",
        group=Group.USE,
        cell=lambda r: percent(_gpu(r)),
        meaning="of the time that some kernel ran, as nvidia-smi tells",
    ),
    Column(
        heading="GPU mem",
        group=Group.USE,
        cell=lambda r: _bytes(_gpu_memory(r)),
        meaning="of the whole GPU at its most",
        spare=5,
    ),
)
