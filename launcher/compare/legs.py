"""From what is wished to legs: every device with every floatX, backend and point of the sweep, at each place."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from launcher.compare.places import Place
from launcher.comparison import Leg
from launcher.domain import Device, FloatX, JobSpec, LegOrder
from launcher.errors import SpecError
from launcher.spec.comparing import Point

MAX_LEGS = 128
MAX_TRIALS = 1000
SETTING_VARIABLE = "GPURUN_SETTING_"
MODEL = "model"
"""The setting that tells the legs of several models apart."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._=,@+-]+")
_NAME_LIMIT = 128
_JOBS_SCRIPT = re.compile(r"-m\s+jobs\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the legs are made of."""

    devices: tuple[Device, ...]
    floatx: tuple[FloatX, ...]
    backends: tuple[str, ...] = ("",)
    """Empty: as the job has it."""
    models: tuple[str, ...] = ("",)
    """Each stands in the command in the place of `{model}`; empty: it has none."""
    points: tuple[Point, ...] = ((),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLeg:
    """A leg, and what the machine is told of it."""

    leg: Leg
    order: LegOrder
    place: Place


def legs(spec: JobSpec, axes: Axes, at: Sequence[Place], *, repeats: int) -> tuple[PlannedLeg, ...]:
    """Every leg, those that are to be held side by side next to each other.

    Raises `SpecError` where there is nothing to compare, too much of it, or a sweep that the job cannot hear of.
    """
    _check_sweep(spec, axes)
    several = {device: sum(device in place.devices for place in at) > 1 for device in axes.devices}
    found = [
        _leg(spec, device, floatx, backend, ((MODEL, model), *point) if model else point, place, several[device])
        for model, point, backend, floatx in itertools.product(axes.models, axes.points, axes.backends, axes.floatx)
        for device in axes.devices
        for place in at
        if device in place.devices
    ]
    if len(found) < 2:
        raise SpecError(
            f"one leg alone ({found[0].leg.name}) has nothing to be compared to"
            if found
            else "no leg is left to compare",
            hint="--devices cpu,gpu, several --floatx, or a --sweep",
        )
    if len(found) > MAX_LEGS or len(found) * repeats > MAX_TRIALS:
        raise SpecError(
            f"{len(found)} legs, {repeats} times each, are more than {MAX_LEGS} legs or {MAX_TRIALS} trainings",
            hint="fewer values in --sweep, or fewer --repeat",
        )
    return tuple(_renamed(found))


def is_jobs(spec: JobSpec) -> bool:
    """Whether the command is `python -m jobs`, which reads a sweep's settings from its environment."""
    if spec.script:
        return bool(_JOBS_SCRIPT.search(spec.script))
    return ("-m", "jobs") in itertools.pairwise(spec.argv)


def variable(setting: str) -> str:
    """The environment variable that tells a job a sweep's setting."""
    return SETTING_VARIABLE + setting.upper().replace("-", "_")


def _check_sweep(spec: JobSpec, axes: Axes) -> None:
    names = list(dict.fromkeys(name for point in axes.points for name, _ in point))
    heard = [variable(name) for name in names]
    twice = [name for name in names if heard.count(variable(name)) > 1]
    if twice:
        raise SpecError(
            f"{' and '.join(twice)} are one setting to the job, which hears of both by {variable(twice[0])}",
            hint="write it in one way",
        )
    if is_jobs(spec) or not spec.script:
        return
    deaf = [name for name in names if variable(name) not in spec.script]
    if deaf:
        asked = variable(deaf[0])
        raise SpecError(
            f"the script of {spec.name} does not look at {asked}: every value of {deaf[0]} would do the same",
            hint=f'put "${asked}" where the value belongs, in `run`',
        )


def _leg(
    spec: JobSpec, device: Device, floatx: FloatX, backend: str, settings: Point, place: Place, several: bool
) -> PlannedLeg:
    name = _name(device, floatx, backend, settings, place.name if several else "")
    # Of several models each stands in the command, and `python -m jobs` knows no such setting.
    told = (each for each in settings if each[0] != MODEL or f"{{{MODEL}}}" not in spec.argv)
    env = {variable(setting): value for setting, value in told}
    return PlannedLeg(
        leg=Leg(name=name, device=device, floatx=floatx, backend=backend, place=place.name, settings=settings),
        order=LegOrder(
            name=name,
            device=device,
            floatx=floatx,
            env=env | ({"GPURUN_BACKEND": backend} if backend else {}),
            argv=_argv(spec, settings),
        ),
        place=place,
    )


def _argv(spec: JobSpec, settings: Point) -> tuple[str, ...]:
    """The command with the settings in it: in the place of `{batch_size}`, else at the end as `--batch-size 64`.

    `python -m jobs` hears of them by its environment. Empty: the job's own command does.
    """
    argv = list(spec.argv)
    for setting, value in settings:
        holder = f"{{{setting}}}"
        if any(holder in word for word in argv):
            argv = [word.replace(holder, value) for word in argv]
        elif argv and not is_jobs(spec):
            argv += [f"--{setting.replace('_', '-')}", value]
    return tuple(argv) if tuple(argv) != spec.argv else ()


def _name(device: Device, floatx: FloatX, backend: str, settings: Point, place: str) -> str:
    parts = [f"{device}-{floatx}", backend, *(f"{setting}={value}" for setting, value in settings)]
    text = ".".join(filter(None, parts)) + (f"@{place.removeprefix('ssh://')}" if place else "")
    return _UNSAFE.sub("-", text)


def _renamed(found: Sequence[PlannedLeg]) -> list[PlannedLeg]:
    """With a few letters more where names are too long, or the same but for what a folder's name cannot hold."""
    names = [each.leg.name.lower() for each in found]
    kept = []
    for number, each in enumerate(found):
        name = each.leg.name
        if len(name) > _NAME_LIMIT or names.count(name.lower()) > 1:
            tail = hashlib.sha256(f"{number}{each.leg}".encode()).hexdigest()[:6]
            name = f"{name[: _NAME_LIMIT - 7]}-{tail}"
        kept.append(replace(each, leg=replace(each.leg, name=name), order=replace(each.order, name=name)))
    return kept
