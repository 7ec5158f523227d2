"""Schedules of faults, drawn from seeds: what is done to one whole run, and at which moments of its life."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What can be done to a run."""

    KILL = "launcher killed"
    END = "machine ended"
    """By the cloud, without a notice."""
    DEATH = "host dead"
    """While EC2 goes on showing it as running."""
    PARTITION = "partition, healed"
    CUT_OFF = "partition for good"
    NOTICE = "notice"
    REBALANCE = "rebalance"
    LOST_REPLY = "reply lost"
    THROTTLING = "throttled"
    STORM = "throttling storm"
    """Three in ten of all EC2 calls, from the launch to the end of everything."""
    SLOW_BOOT = "slow boot"
    NO_CAPACITY = "no capacity"
    FORBIDDEN = "launches forbidden"
    """The permission for them is taken away."""
    EXPIRED = "credentials expired"
    NO_SWITCH = "no kill switch"
    """The permission to arm the one in the cloud is missing."""
    SKEW = "clock skewed"
    FULL_HOST = "host's disk full"
    FULL_HOME = "laptop's disk full"
    ADDRESS = "laptop moved"


class After(StrEnum):
    """What becomes of a run whose launcher was killed."""

    RESUME = "resume"
    DEADLINE = "deadline"
    """Nobody comes back before the deadline."""
    GC = "gc"
    """Nobody comes back; another laptop of the same owner, which has no ledger, collects what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a fault strikes: at an event of the ledger, or a step of the log that is home, and so long after it."""

    event: str = ""
    wanted: tuple[tuple[str, object], ...] = ()
    """What the event's data must say."""
    step: int = 0
    after_s: float = 0.0

    def __str__(self) -> str:
        what = f"step {self.step}" if self.step else " ".join([self.event, *(f"{k}={v}" for k, v in self.wanted)])
        return f"{what or 'the launch'}{f' + {self.after_s:.1f} s' if self.after_s else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is done; `lasts_s` later it is undone, where that can be."""

    kind: Kind
    at: Moment
    lasts_s: float = 0.0
    """0: it is not undone, or nothing is there to undo."""
    action: str = ""
    """Of an API fault: a pattern of the calls that it strikes."""
    times: int = 0
    in_s: float = 0.0
    """Of a notice: how long before the end it comes; of a skew: by how much; of a slow boot: how long."""

    def __str__(self) -> str:
        more = [
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in (("for", self.lasts_s), ("of", self.action), ("times", self.times), ("s", self.in_s))
            if value
        ]
        return f"{self.kind.value} at {self.at}{': ' + ', '.join(more) if more else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One run, and all that is done to it."""

    seed: int
    steps: int
    step_s: float
    every: int
    habit: str
    """What the job does about checkpoints: see `chained`."""
    weights_kib: int
    detach: bool
    durable: bool
    """With `outputs: s3://`."""
    waits: bool
    """With `--wait`."""
    max_cost_usd: float | None
    after: After
    faults: tuple[Fault, ...] = field(default=())

    @property
    def max_hours(self) -> float:
        """Long enough for all that can happen, or just above the least where the deadline is waited for."""
        return (75.0 if self.after is After.DEADLINE else 1200.0) / 3600

    @property
    def scarce(self) -> bool:
        """Whether its budget may end it."""
        return self.max_cost_usd in TIGHT_CAPS_USD

    @property
    def alone(self) -> bool:
        """Whether it needs a cloud of its own: what it does is done to all that is in one."""
        return self.has(Kind.SLOW_BOOT, Kind.SKEW, Kind.ADDRESS)

    def has(self, *kinds: Kind) -> bool:
        """Whether one of these is in it."""
        return any(fault.kind in kinds for fault in self.faults)

    def __str__(self) -> str:
        job = f"{self.steps} steps of {self.step_s} s, saves {self.habit}, {self.weights_kib} KiB"
        how = [
            word for word, said in (("detached", self.detach), ("to S3", self.durable), ("waiting", self.waits)) if said
        ]
        return f"seed {self.seed}: {', '.join([job, *how])}; then {self.after.value}\n" + "\n".join(
            f"  {fault}" for fault in self.faults
        )


def at(event: str, **wanted: object) -> Moment:
    """The moment of an event."""
    return Moment(event=event, wanted=tuple(sorted(wanted.items())))


PLAIN: tuple[Moment, ...] = (
    at("phase", name="plan"),
    at("phase", name="provision"),
    at("network.intent"),
    at("fleet.intent"),
    at("instance"),
    at("armed"),
    at("phase", name="boot"),
    at("door"),
    at("phase", name="connect"),
    at("phase", name="sync"),
    at("sent"),
    at("phase", name="start"),
    at("job.intent"),
    at("job.started"),
    at("phase", name="first log"),
    at("phase", name="run"),
    at("checkpoint.saved"),
    at("job.done"),
    at("phase", name="fetch"),
    at("came"),
    at("fetched"),
    at("ending"),
    at("phase", name="terminate"),
    at("phase", name="end"),
)
"""Events of every run."""
BETWEEN: tuple[Moment, ...] = (
    at("notice"),
    at("successor", phase="provision"),
    at("successor", phase="boot"),
    at("successor", phase="connect"),
    at("successor", phase="sync"),
    at("job.stopped"),
    at("interrupted"),
    at("restored"),
    at("job.started", segment=2),
)
"""Events of a run that goes from one machine to the next."""
GRANTED, WAITS = at("outputs.granted"), at("wait")
"""With `outputs: s3://`, and with `--wait`."""
RARE: dict[Moment, tuple[Fault, ...]] = {
    GRANTED: (),
    WAITS: (),
    at("fleet.refused"): (Fault(kind=Kind.NO_CAPACITY, at=Moment(), lasts_s=4.0),),
    at("unarmed"): (Fault(kind=Kind.NO_SWITCH, at=Moment()),),
    at("rebalance"): (Fault(kind=Kind.REBALANCE, at=Moment(step=3)),),
    at("address"): (Fault(kind=Kind.ADDRESS, at=Moment(step=3)),),
    at("salvaged"): (
        Fault(kind=Kind.FORBIDDEN, at=at("checkpoint.saved")),
        Fault(kind=Kind.END, at=at("checkpoint.saved")),
    ),
}
"""Events that need something to come about, and the faults that bring them about."""
MOMENTS = (*PLAIN, *BETWEEN, *RARE)

API_CALLS = (
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "CreateLaunchTemplate",
    "CreateFleet",
    "CreateSchedule",
    "ModifyInstanceAttribute",
    "TerminateInstances",
    "DeleteLaunchTemplate",
    "DeleteSecurityGroup",
    "DeleteSchedule",
)
"""Every call of a plain run that changes something: its reply may be lost after it took effect."""

LOOSE_CAPS_USD = (None, None, 0.5)
TIGHT_CAPS_USD = (0.003, 0.005)
"""The cheapest type costs 0.03 to 0.05 USD an hour with its disk and address: they buy two to eight minutes of a
machine, of which the last one and a half are kept for its end, and at most two successors."""

Draw = Callable[[random.Random], Fault]


def somewhere(dice: random.Random) -> Moment:
    """A moment while the job runs, on the way there, or after it."""
    if dice.random() < 0.6:
        return working(dice)
    return dice.choice([at("phase", name=name) for name in ("boot", "sync", "start", "fetch")])


def working(dice: random.Random) -> Moment:
    """A moment while the job runs."""
    return Moment(step=dice.randint(2, 20), after_s=round(dice.uniform(0, 0.3), 2))


def early(dice: random.Random) -> Moment:
    """A moment before the first machine is asked for, or while the job runs."""
    return dice.choice([Moment(), at("phase", name="plan"), at("network.intent"), working(dice)])


def kill(moment: Moment) -> Fault:
    return Fault(kind=Kind.KILL, at=moment)


def notice(dice: random.Random, moment: Moment | None = None) -> Fault:
    return Fault(kind=Kind.NOTICE, at=moment or somewhere(dice), in_s=dice.choice([4.0, 12.0, 30.0, 90.0]))


DRAWS: dict[Kind, Draw] = {
    Kind.KILL: lambda dice: kill(dice.choice(PLAIN)),
    Kind.END: lambda dice: Fault(kind=Kind.END, at=somewhere(dice)),
    Kind.DEATH: lambda dice: Fault(kind=Kind.DEATH, at=somewhere(dice)),
    Kind.PARTITION: lambda dice: Fault(
        kind=Kind.PARTITION, at=somewhere(dice), lasts_s=round(dice.uniform(0.5, 6.0), 1)
    ),
    Kind.CUT_OFF: lambda dice: Fault(kind=Kind.CUT_OFF, at=somewhere(dice)),
    Kind.NOTICE: notice,
    Kind.REBALANCE: lambda dice: Fault(kind=Kind.REBALANCE, at=somewhere(dice)),
    Kind.LOST_REPLY: lambda dice: Fault(
        kind=Kind.LOST_REPLY, at=Moment(), action=dice.choice(API_CALLS), times=dice.choice([1, 1, 2])
    ),
    Kind.THROTTLING: lambda dice: Fault(
        kind=Kind.THROTTLING, at=early(dice), action=dice.choice([".*", *API_CALLS]), times=dice.randint(1, 3)
    ),
    Kind.STORM: lambda _: Fault(kind=Kind.STORM, at=Moment()),
    Kind.SLOW_BOOT: lambda dice: Fault(kind=Kind.SLOW_BOOT, at=Moment(), in_s=round(dice.uniform(1.0, 5.0), 1)),
    Kind.NO_CAPACITY: lambda dice: Fault(kind=Kind.NO_CAPACITY, at=early(dice), lasts_s=round(dice.uniform(2, 8), 1)),
    Kind.EXPIRED: lambda dice: Fault(kind=Kind.EXPIRED, at=early(dice), lasts_s=round(dice.uniform(1, 8), 1)),
    Kind.NO_SWITCH: lambda _: Fault(kind=Kind.NO_SWITCH, at=Moment()),
    Kind.SKEW: lambda dice: Fault(kind=Kind.SKEW, at=Moment(), in_s=dice.choice([-300.0, 300.0])),
    Kind.FULL_HOST: lambda dice: Fault(
        kind=Kind.FULL_HOST, at=somewhere(dice), lasts_s=dice.choice([0.0, round(dice.uniform(0.5, 4.0), 1)])
    ),
    Kind.FULL_HOME: lambda dice: Fault(
        kind=Kind.FULL_HOME, at=somewhere(dice), lasts_s=dice.choice([0.0, round(dice.uniform(0.5, 4.0), 1)])
    ),
    Kind.ADDRESS: lambda dice: Fault(kind=Kind.ADDRESS, at=somewhere(dice)),
}


def draw(seed: int) -> Schedule:
    """The schedule of a seed: of three, two kill the launcher, each at the next event; one has the next other kind.

    So every event and every kind comes up; the rest is chance.
    """
    dice = random.Random(seed)
    block, place = divmod(seed, 3)
    others = [kind for kind in DRAWS if kind is not Kind.KILL]
    aim = MOMENTS[(2 * block + place) % len(MOMENTS)] if place < 2 else None
    faults = list(_killed(dice, aim) if aim else _struck(dice, others[block % len(others)]))
    while len(faults) < 3 and dice.random() < 0.45:
        faults.append(DRAWS[dice.choice(list(DRAWS))](dice))
    killed = any(fault.kind is Kind.KILL for fault in faults)
    detach = aim is None and dice.random() < 0.35  # the launcher of a detached run is gone before most events
    after = dice.choices(list(After), [6, 1, 1])[0] if killed or detach else After.RESUME
    left_alone = detach or after is not After.RESUME
    durable = aim == GRANTED or dice.random() < (0.7 if left_alone else 0.15)
    saves = aim is not None or (durable and left_alone)
    # A machine for a minute that sends to S3 is dear by the hour: a tight budget refuses it, and nothing is tried.
    roomy = aim in (*BETWEEN, *RARE) or after is After.DEADLINE
    return Schedule(
        seed=seed,
        steps=dice.randint(25, 50) + (200 if aim in BETWEEN else 0),  # done after the successor is ready
        step_s=round(dice.uniform(0.06, 0.12), 2),
        every=dice.randint(4, 10),
        habit="often" if saves else dice.choice(["often", "often", "often", "asked", "never"]),
        weights_kib=dice.choice([1, 64, 700]),
        detach=detach,
        durable=durable,
        waits=aim == WAITS,
        max_cost_usd=dice.choice(LOOSE_CAPS_USD if roomy else (*LOOSE_CAPS_USD, *TIGHT_CAPS_USD)),
        after=after,
        faults=tuple(faults),
    )


def _killed(dice: random.Random, moment: Moment) -> Iterator[Fault]:
    """A launcher killed at this moment, and what brings the moment about."""
    if moment in BETWEEN:
        yield Fault(kind=Kind.NOTICE, at=working(dice), in_s=dice.choice([30.0, 90.0]))
    yield from RARE.get(moment, ())
    yield kill(moment)


def _struck(dice: random.Random, kind: Kind) -> Iterator[Fault]:
    """A fault of this kind, sometimes twice in a row: the successor is struck, too."""
    yield DRAWS[kind](dice)
    if kind in {Kind.NOTICE, Kind.END} and dice.random() < 0.5:
        again = at("job.started", segment=2)
        if kind is Kind.NOTICE:
            yield notice(dice, dice.choice([again, at("successor", phase="sync")]))
        else:
            yield Fault(kind=kind, at=again)
