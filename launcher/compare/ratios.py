"""How many times as fast, and how many times as dear: the GPU's legs against the CPU's.

**The spread.** Two legs of one run take turns on one machine, so that whatever drifts (heat, a neighbour's load) meets
both alike: their trials are paired by repeat, each pair gives a ratio, and the spread is the least and the most of
those. Legs of different machines share no moment: there every trial is compared to every other, the spread is the
least over the most and the most over the least, and the figure is the ratio of the medians. A bootstrap is not used:
over the two to five repeats that people pay for, its resamples are a handful of different values whose percentiles
are narrower than the truth (a bootstrap of one trial has no width at all), while the extremes are what was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from launcher.compare.figures import elapsed_s, usd_of
from launcher.comparison import LegResult, Ratio, Trial
from launcher.domain import Device, FloatX

Figure = Callable[[Trial], float | None]


def ratios(legs: Sequence[LegResult]) -> tuple[Ratio, ...]:
    """Of every pair of legs that differ in nothing but device and machine; where there is none, of the best of each."""
    return tuple(ratio for cpu, gpu in pairs(legs) for ratio in between(cpu, gpu))


def pairs(legs: Sequence[LegResult]) -> tuple[tuple[LegResult, LegResult], ...]:
    """(CPU's leg, GPU's leg): those alike in floatX, backend and settings; else the quickest two of the same settings.

    Other settings are other work: 10 hidden units on the CPU say nothing of 500 on the GPU.
    """
    cpus, gpus = (tuple(_done(legs, device)) for device in (Device.CPU, Device.GPU))
    same = [(cpu, gpu) for gpu in gpus for cpu in cpus if cpu.leg.settings == gpu.leg.settings]
    found = tuple(pair for pair in same if alike(*pair))
    return found or tuple(sorted(same, key=lambda pair: (quickness(pair[1]), quickness(pair[0])))[:1])


def headline(legs: Sequence[LegResult]) -> tuple[LegResult, LegResult] | None:
    """The pair that stands for all of them: in float32 where there is such a pair, then the quickest GPU's."""
    found = pairs(legs)
    plain = [pair for pair in found if pair[1].leg.floatx is FloatX.FLOAT32 and pair[0].leg.floatx is FloatX.FLOAT32]
    return min(plain or found, key=lambda pair: (quickness(pair[1]), quickness(pair[0])), default=None)


def between(cpu: LegResult, gpu: LegResult) -> tuple[Ratio, ...]:
    """Speed-ups by training, whole process and epoch, and the cost ratio, as far as both legs tell them."""
    found = (
        ratio(cpu, gpu, "train", lambda trial: trial.train_s, lambda trial: trial.train_s),
        ratio(cpu, gpu, "elapsed", elapsed_s, elapsed_s),
        ratio(cpu, gpu, "epoch", lambda trial: trial.epoch_s, lambda trial: trial.epoch_s),
        ratio(gpu, cpu, "samples", lambda trial: trial.samples_per_s, lambda trial: trial.samples_per_s),
        ratio(gpu, cpu, "usd", _dollars(gpu), _dollars(cpu)),
    )
    return tuple(each for each in found if each is not None)


def ratio(numerator: LegResult, denominator: LegResult, what: str, above: Figure, below: Figure) -> Ratio | None:
    """One leg's figure over another's, with its spread; `None` where a leg does not tell it, or it is 0."""
    tops, bottoms = _by_repeat(numerator, above), _by_repeat(denominator, below)
    if not tops or not bottoms:
        return None
    paired = numerator.run_id is not None and numerator.run_id == denominator.run_id and tops.keys() == bottoms.keys()
    if paired:
        every = [tops[repeat] / bottoms[repeat] for repeat in tops]
        value = median(every)
    else:
        every = [top / bottom for top in tops.values() for bottom in bottoms.values()]
        value = median(tops.values()) / median(bottoms.values())
    return Ratio(
        numerator=numerator.leg.name,
        denominator=denominator.leg.name,
        what=what,
        value=value,
        least=min(every),
        most=max(every),
        # Nine comparisons of three trials to three are no more than three observations.
        count=min(len(tops), len(bottoms)),
        paired=paired,
    )


def quickness(leg: LegResult) -> float:
    """Seconds by which the quickest is found: of the training, else of the process."""
    seconds = leg.train_s or leg.elapsed_s
    return seconds.median if seconds else float("inf")


def _done(legs: Sequence[LegResult], device: Device) -> Iterator[LegResult]:
    return (leg for leg in legs if leg.leg.device is device and leg.done)


def alike(one: LegResult, other: LegResult) -> bool:
    """Whether they differ in nothing but device and machine."""
    return (one.leg.floatx, one.leg.backend, one.leg.settings) == (
        other.leg.floatx,
        other.leg.backend,
        other.leg.settings,
    )


def _by_repeat(leg: LegResult, figure: Figure) -> dict[int, float]:
    known = ((trial.repeat, figure(trial)) for trial in leg.done)
    return {repeat: value for repeat, value in known if value is not None and value > 0}


def _dollars(leg: LegResult) -> Figure:
    def usd(trial: Trial) -> float | None:
        seconds = elapsed_s(trial)
        return None if seconds is None else usd_of(seconds, leg.price_usd_per_hour)

    return usd
