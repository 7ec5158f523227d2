"""What a comparison says in a sentence or two, with its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.compare.ratios import alike, between, headline, pairs, quickness
from launcher.comparison import Crossing, LegResult, Parity, Ratio, TrialState
from launcher.domain import Device

ALMOST = 1.05
"""Dollars that differ by less are called the same."""


def verdict(legs: Sequence[LegResult], parities: Sequence[Parity] = (), crossings: Sequence[Crossing] = ()) -> str:
    """Who is ahead, by how much and at which price; then where the GPU begins to pay, and what casts doubt on it."""
    span = _span(legs)
    said = [span or _who(legs), *_where(crossings), *_doubts(parities)]
    return " ".join(sentence for sentence in said if sentence)


def number(value: float) -> str:
    """Three digits that mean something, without an exponent where people would write none."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value and value < 0.001 else f"{value:#.3g}".rstrip(".") if value >= 1 else f"{value:.2g}"


def _who(legs: Sequence[LegResult]) -> str:
    pair = headline(legs)
    if pair:
        return _ahead(*pair)
    gpus = [leg for leg in legs if leg.leg.device is Device.GPU]
    cpus = [leg for leg in legs if leg.leg.device is Device.CPU]
    if not any(leg.done for leg in legs):
        return f"No leg was done: {_why(legs)}."
    if gpus and not any(leg.done for leg in gpus):
        return f"{_no_gpu(gpus)} {_quickest(cpus)}"
    if cpus and not any(leg.done for leg in cpus):
        return f"No leg on the CPU was done: {_why(cpus)}. {_quickest(gpus)}"
    return _quickest(legs)


def _span(legs: Sequence[LegResult]) -> str:
    """Of a sweep, from where to where the GPU's advantage goes; empty where there is no sweep that both have done."""
    found = []
    for cpu, gpu in pairs(legs):
        told = {ratio.what: ratio for ratio in between(cpu, gpu)}
        speed = told.get("train") or told.get("elapsed")
        if speed and gpu.leg.settings == cpu.leg.settings and gpu.leg.settings:
            found.append((speed.value, speed.what, gpu))
    if len({gpu.leg.settings for _, _, gpu in found}) < 2:
        return ""
    (least, what, low), (most, _, high) = (choose(found, key=lambda each: each[0]) for choose in (min, max))
    return (
        f"The GPU {'trains' if what == 'train' else 'runs'} {number(least)} times ({_setting(low)}) to "
        f"{number(most)} times ({_setting(high)}) as fast as the CPU."
    )


def _setting(leg: LegResult) -> str:
    return ", ".join(f"{name} {value}" for name, value in leg.leg.settings)


def _ahead(cpu: LegResult, gpu: LegResult) -> str:
    one, other = _called(cpu, gpu), _called(gpu, cpu)
    found = {ratio.what: ratio for ratio in between(cpu, gpu)}
    speed = found.get("train") or found.get("elapsed")
    if speed is None:
        return f"{other} and {one} are done, but tell no time to compare them by."
    verb = "trains" if speed.what == "train" else "runs"
    money = _money(found.get("usd"), cpu, gpu)
    if not speed.certain and speed.count > 1:
        return (
            f"{other} and {_lower(one)} are about equally fast: the GPU {verb} {_times(speed)} as fast, "
            f"the trials do not agree on who is ahead{f'; it{money[4:]}' if money else ''}."
        )
    if speed.value >= 1:
        return f"{other} {verb} {_times(speed)} as fast as {_lower(one)}{money}."
    return (
        f"This job is too small for the GPU: {_lower(other)} takes {_times(_inverse(speed))} as long "
        f"as {_lower(one)}{money}."
    )


def _money(usd: Ratio | None, cpu: LegResult, gpu: LegResult) -> str:
    if usd is None:
        return _own(cpu, gpu)
    if usd.count > 1 and not usd.certain and 1 / ALMOST < usd.value < ALMOST:
        return " and costs as much per run"
    return f" and costs {number(usd.value)} times as much per run"


def _own(cpu: LegResult, gpu: LegResult) -> str:
    """Of a pair of which one costs nothing, what the other does."""
    if gpu.usd_per_run:
        return f" and costs ${number(gpu.usd_per_run)} per run, where the CPU is your own"
    if cpu.usd_per_run:
        return f" and is your own, where the CPU costs ${number(cpu.usd_per_run)} per run"
    return ""


def _times(ratio: Ratio) -> str:
    if ratio.count < 2:
        return f"{number(ratio.value)} times (measured once)"
    return f"{number(ratio.value)} times ({number(ratio.least)} to {number(ratio.most)})"


def _inverse(ratio: Ratio) -> Ratio:
    return Ratio(
        numerator=ratio.denominator,
        denominator=ratio.numerator,
        what=ratio.what,
        value=1 / ratio.value,
        least=1 / ratio.most,
        most=1 / ratio.least,
        count=ratio.count,
        paired=ratio.paired,
    )


def _no_gpu(gpus: Sequence[LegResult]) -> str:
    states = {leg.state for leg in gpus}
    if states == {TrialState.NO_DEVICE}:
        return "No GPU answered: the GPU legs were not run."
    if states == {TrialState.WRONG_DEVICE}:
        return f"The GPU legs did not run on the GPU: {_why(gpus)}."
    return f"No GPU leg was done: {_why(gpus)}."


def _quickest(legs: Sequence[LegResult]) -> str:
    """Of legs on one device alone."""
    done = sorted((leg for leg in legs if leg.done and quickness(leg) < float("inf")), key=quickness)
    if not done:
        return ""
    first, last = done[0], done[-1]
    if len(done) == 1:
        return f"Leg {first.leg.name} takes {number(quickness(first))} s."
    times = number(quickness(last) / quickness(first)) if quickness(first) else "many"
    return (
        f"The quickest leg is {first.leg.name} ({number(quickness(first))} s); "
        f"{last.leg.name} takes {times} times as long."
    )


def _where(crossings: Sequence[Crossing]) -> Iterator[str]:
    for crossing in crossings:
        kept = f" ({crossing.series})" if len({each.series for each in crossings}) > 1 else ""
        unit = "in dollars" if crossing.what == "usd" else "in seconds"
        doubt = f"; uncertain, {crossing.uncertain}" if crossing.uncertain else ""
        if crossing.value is not None:
            bound = "from" if crossing.above else "up to"
            yield (
                f"Along {crossing.setting}{kept} the GPU pays {unit} {bound} about {number(crossing.value)}"
                f"{' on' if crossing.above else ''}{doubt}."
            )
        elif crossing.always:
            word = "everywhere" if crossing.always == Device.GPU else "nowhere"
            yield f"Along {crossing.setting}{kept} the GPU pays {unit} {word} in the range{doubt}."


def _doubts(parities: Sequence[Parity]) -> Iterator[str]:
    steps = [parity for parity in parities if not parity.equal_steps]
    if steps:
        yield f"Beware: {_names(steps)} did not do as many steps as {steps[0].reference}."
    other = [parity for parity in parities if parity.exceeded and parity.equal_steps]
    if other:
        yield f"Beware: {_names(other)} did not compute the same as {other[0].reference}: {other[0].exceeded[0]}."


def _names(parities: Sequence[Parity]) -> str:
    names = [parity.leg for parity in parities]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _called(leg: LegResult, beside: LegResult) -> str:
    """`The GPU (g4dn.xlarge)`; with its floatX and backend where the other leg's are not the same."""
    where = leg.machine or {"local": "this machine"}.get(leg.leg.place, leg.leg.place)
    told = [where] if where and where not in tuple(Device) else []
    if not alike(leg, beside):
        told += [leg.leg.floatx, *filter(None, [leg.leg.backend])]
    return f"The {leg.leg.device.upper()}" + (f" ({', '.join(told)})" if told else "")


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _why(legs: Sequence[LegResult]) -> str:
    found = next((leg for leg in legs if leg.reason), None)
    if not found:
        return "they were not run"
    reason = found.reason.rstrip(".")
    return reason if len(legs) == 1 else f"{found.leg.name}: {reason}"
