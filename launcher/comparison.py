"""The words of a comparison: its legs, what each of their trials measured, what they tell together.

Standard library only. A *leg* is one way to run the job (device, floatX, backend, machine, settings); a *trial* is one
execution of a leg: each is done as often as `--repeat` says, interleaved with the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from launcher.domain import CitedLeg, Device, FloatX, JobUsage, RunId, SegmentCost


class TrialState(StrEnum):
    """What became of one execution of a leg."""

    DONE = "done"
    FAILED = "failed"
    """It exited with a status other than 0, or what it left cannot be read."""
    NO_DEVICE = "no device"
    """The machine has no GPU: it was not run."""
    WRONG_DEVICE = "wrong device"
    """It ran on another device than it was told to."""
    MISSING = "missing"
    """The run ended before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One way to run the job."""

    name: str
    """Unique in its comparison, and a folder's name: `gpu-float32`, `cpu-bfloat16.jax.batch_size=64@c7i.4xlarge`."""
    device: Device
    floatx: FloatX
    backend: str = ""
    """tensorflow, jax or torch; empty: as the job has it."""
    place: str
    """Where it runs: `local`, `ssh://user@host`, or on AWS an instance type, or `cpu` or `gpu` for the cheapest."""
    settings: tuple[tuple[str, str], ...] = ()
    """A sweep's point: `(("batch_size", "64"),)`."""

    @property
    def on_own_machine(self) -> bool:
        """Whether its place is the user's own, which costs nothing."""
        return self.place == "local" or self.place.startswith("ssh://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A figure of the training's course, from the job's metrics.jsonl."""

    at_s: float
    """Since the trial began."""
    epoch: float
    step: int
    cost: float | None = None
    error: float | None = None
    """A share, 0 to 1, or in the job's own unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What nvidia-smi said while a trial ran."""

    name: str
    driver: str
    samples: int
    mean_percent: float | None
    """Of the time that some kernel ran; `None`: not told."""
    max_memory_bytes: int
    """Of the whole GPU at its most."""
    by_job: bool
    """Whether a process of the trial was seen on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a trial ran on."""

    processor: str
    vcpus: int
    memory_bytes: int
    system: str
    gpu: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One execution of a leg."""

    leg: str
    repeat: int
    """From 1."""
    state: TrialState
    reason: str = ""
    """Of one that is not done, in plain words."""
    exit_status: int | None = None
    notes: tuple[str, ...] = ()
    """What of its files was passed over, and why, in plain words."""
    began_at: datetime | None = None
    usage: JobUsage | None = None
    gpu: GpuUse | None = None
    machine: Machine | None = None
    again: int = 0
    """How often it was begun anew because its machine was taken back."""
    device_told: str = ""
    """Where the job itself says that it ran; empty: it does not say."""
    points: tuple[Point, ...] = ()
    """Some hundreds at most, evenly thinned, the first and the last among them; of the training's last stage."""
    diverged_at_step: int | None = None
    """Where the cost was first NaN or infinite; `None`: nowhere."""
    epochs: float | None = None
    steps: int | None = None
    samples: int | None = None
    """Training rows an epoch, where the job tells."""
    ready_s: float | None = None
    """From its start to its first figure: imports, data, compilation, and the steps before that figure."""
    warm_up_s: float | None = None
    """Of `train_s`, what its steps do not take at the steady pace: compilation, first use of the device. `None`: the
    job does not tell how long it trained; `ready_s` then holds it."""
    train_s: float | None = None
    """Of the training alone, as the job tells, or from its first figure to its last."""
    first_epoch_s: float | None = None
    """With the warm-up, where that is known."""
    epoch_s: float | None = None
    """Median of the epochs after the first, which compiles."""
    samples_per_s: float | None = None
    """In the steady state."""
    final_cost: float | None = None
    final_error: float | None = None
    """A share, 0 to 1, or in the job's own unit."""
    target_s: float | None = None
    """Until the error was first at or below `--target`."""
    versions: tuple[tuple[str, str], ...] = ()
    weights: str = ""
    """The weights' path in the run's results; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median with what lies around it."""

    median: float
    least: float
    most: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LegResult:
    """All trials of a leg, and what they come to."""

    leg: Leg
    run_id: RunId | None
    price_usd_per_hour: float
    """Of the machine with its disk and address, in force when it was made; 0 for one's own."""
    machine: str = ""
    """The instance type that it ran on, in the end; empty: one's own, or none."""
    trials: tuple[Trial, ...]
    elapsed_s: Spread | None = None
    """Of each trial that is done, from its process's start to its end; the other spreads likewise."""
    ready_s: Spread | None = None
    warm_up_s: Spread | None = None
    train_s: Spread | None = None
    first_epoch_s: Spread | None = None
    epoch_s: Spread | None = None
    samples_per_s: Spread | None = None
    target_s: Spread | None = None
    usd_per_run: float | None = None
    """What its elapsed time costs; not the boot of the machine, which the receipts tell."""
    usd_per_epoch: float | None = None
    usd_to_target: float | None = None
    final_cost: float | None = None
    """The median, as the next one."""
    final_error: float | None = None

    @property
    def done(self) -> tuple[Trial, ...]:
        """The trials that count."""
        return tuple(trial for trial in self.trials if trial.state is TrialState.DONE)

    @property
    def state(self) -> TrialState:
        """Done where some trial is; else what became of the first that was executed, or of the first."""
        if self.done or not self.trials:
            return TrialState.DONE if self.done else TrialState.MISSING
        executed = [trial for trial in self.trials if trial.state is not TrialState.MISSING]
        return (executed or list(self.trials))[0].state

    @property
    def reason(self) -> str:
        """Of a leg that is not done, in plain words."""
        return next((trial.reason for trial in self.trials if trial.state is self.state), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How one leg compares to another: `numerator`'s figure over `denominator`'s.

    A speed-up is the CPU's seconds over the GPU's, a cost ratio the GPU's dollars over the CPU's.
    """

    numerator: str
    denominator: str
    what: str
    """elapsed, train, epoch, samples or usd."""
    value: float
    least: float
    most: float
    count: int
    """Of the pairs of trials that it rests on; 1: nothing is known of its spread."""
    paired: bool
    """Whether each trial was compared to the one that ran next to it on the same machine; else every one to every."""

    @property
    def certain(self) -> bool:
        """Whether all pairs agree on who is ahead; never where there is one alone."""
        return self.count > 1 and (self.least > 1 or self.most < 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Whether a leg computed the same as the reference leg."""

    leg: str
    reference: str
    tolerance: float
    """Of the costs, by the coarser floatX of the two."""
    weight_tolerance: float = 1.0
    """Of the weights, likewise."""
    largest_cost_difference: float | None
    """Over the points that both have: |a - b| over the larger of the two costs there."""
    largest_weight_difference: float | None
    """Over all arrays: the Euclidean norm of a - b over the larger of theirs; of unrelated ones it is about 1.4."""
    exceeded: tuple[str, ...] = ()
    """Where the tolerance is exceeded, in plain words; empty: nowhere."""
    untold: tuple[str, ...] = ()
    """What could not be compared, and why, in plain words."""
    equal_steps: bool = True
    bytes_equal: bool = False
    """Whether all weights are the same to the bit."""

    @property
    def holds(self) -> bool:
        """Whether something was compared, and all of it agrees."""
        compared = self.largest_cost_difference is not None or self.largest_weight_difference is not None
        return compared and self.equal_steps and not self.exceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """Both devices at one value of the setting that is swept."""

    at: float
    cpu: Spread
    """Seconds of training (of the whole process, where not every trial tells them), or US dollars a run."""
    gpu: Spread
    advantage: float
    """The CPU's figure over the GPU's: above 1, the GPU pays."""
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where, along a sweep, the GPU begins to pay."""

    setting: str
    what: str
    """seconds or usd."""
    value: float | None
    """Between two points, by interpolation of the logarithms; `None`: nowhere in the range."""
    always: str = ""
    """The device that is ahead everywhere (`cpu` or `gpu`), where there is no crossing; empty: nobody knows."""
    least: float | None = None
    """Where the trials that are best for the GPU cross; `None`: outside of the range."""
    most: float | None = None
    """Where those that are worst for it do."""
    above: bool = True
    """Whether the GPU pays from `value` on; else up to it."""
    uncertain: str = ""
    """Why it may lie elsewhere, in plain words; empty: the trials agree."""
    series: str = ""
    """What the legs of this curve share beside the devices, such as `float32`; empty: there is one curve."""
    points: tuple[SweepPoint, ...] = ()
    """The curve, by rising value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that is known of one comparison; what it is kept and shown as."""

    comparison_id: str
    title: str
    created_at: datetime
    command: tuple[str, ...]
    """As the user gave it."""
    repeats: int
    target: float | None
    legs: tuple[LegResult, ...]
    ratios: tuple[Ratio, ...] = ()
    parities: tuple[Parity, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    verdict: str = ""
    """One or two sentences."""
    warnings: tuple[str, ...] = ()
    cited: tuple[tuple[str, str], ...] = ()
    """Figures from elsewhere to be shown beside ours: (what, figure with its source)."""
    cited_legs: tuple[CitedLeg, ...] = ()
    """Those that are of a leg."""
    receipts: tuple[tuple[RunId, float, tuple[SegmentCost, ...]], ...] = ()
    """Of each run: what it cost in all, and its machines."""
    version: str = ""
    """Of gpurun."""
