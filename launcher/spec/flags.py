"""Command-line flags over a spec, checked as the spec's own fields are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from launcher.domain import Device, FloatX, JobSpec, Limits, Requirements
from launcher.errors import SpecError
from launcher.spec import files, values

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.spec.models import GpuFields

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What flags said, as they said it; `None` or empty: not given."""

    name: str | None = None
    device: str | None = None
    floatx: str | None = None
    data: str | Path | None = None
    gpu: str | None = None
    architecture: str | None = None
    max_hours: float | None = None
    max_cost: float | None = None
    max_price: float | None = None
    instance_types: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    spot: str | bool | None = None
    """true, false or prefer."""
    image: str | None = None
    disk: str | int | None = None
    outputs: str | Path | None = None
    key: str | Path | None = None
    env: tuple[str, ...] = ()
    """NAME=VALUE, added to the spec's."""


def override(spec: JobSpec, changes: Overrides, *, cwd: Path | None = None) -> JobSpec:
    """The spec with the flags over it; paths are relative to `cwd` (the current folder).

    Every mistake is told at once, each named by its flag, in `SpecError.problems`.
    """
    flags = _Flags()
    base = cwd or Path.cwd()
    device = flags.take("--device", changes.device, lambda word: values.one_of(word, Device), spec.device)
    changed = replace(
        spec,
        name=flags.take("--name", changes.name, values.name, spec.name),
        device=device,
        floatx=flags.take("--floatx", changes.floatx, lambda word: values.one_of(word, FloatX), spec.floatx),
        data=flags.take("--data", changes.data, lambda path: files.data(path, base), spec.data),
        env=spec.env | _environment(flags, changes.env),
        resources=_resources(flags, changes, spec.resources, device),
        limits=_limits(flags, changes, spec.limits),
        outputs=flags.take("--outputs", changes.outputs, lambda path: files.outputs(path, base), spec.outputs),
        ssh=replace(spec.ssh, key=flags.take("--key", changes.key, lambda path: files.file(path, base), spec.ssh.key)),
    )
    flags.raise_mistakes()
    return changed


class _Flags:
    """Collects what is wrong with the flags."""

    def __init__(self) -> None:
        self._mistakes: list[str] = []

    def take(self, flag: str, given: object, parse: Callable[[object], Value], otherwise: Value) -> Value:
        """The flag's value, or what the spec has where it is not given or wrong."""
        if given is None or given == ():
            return otherwise
        try:
            return parse(given)
        except ValueError as fault:
            self._mistakes.append(f"{flag}: {fault}")
            return otherwise

    def raise_mistakes(self) -> None:
        """Raise `SpecError` if there is any."""
        if self._mistakes:
            count = len(self._mistakes)
            message = self._mistakes[0] if count == 1 else f"{count} flags are wrong"
            raise SpecError(message, hint="see `gpurun launch --help`", problems=tuple(self._mistakes))


def _environment(flags: _Flags, pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    nothing: dict[str, str] = {}
    for pair in pairs:
        found |= flags.take("--env", pair, _pair, nothing)
    return found


def _pair(text: object) -> dict[str, str]:
    name, equals, value = str(text).partition("=")
    if not equals:
        raise ValueError(f"{text!r} has no value, expected NAME=VALUE")
    return {values.variable(name): values.variable_text(value)}


def _resources(flags: _Flags, changes: Overrides, old: Requirements, device: Device) -> Requirements:
    regions = flags.take("--region", changes.regions, lambda words: _each(values.region, words), old.regions)
    zones = flags.take("--zone", changes.zones, lambda words: _each(values.zone, words), old.zones)
    if changes.zones and not changes.regions:
        regions = tuple(dict.fromkeys(values.region_of(zone) for zone in zones))
    flag = "--zone" if changes.zones else "--region"
    flags.take(flag, zones, lambda _: values.check_zones(zones, regions), None)
    return replace(
        _with_gpu(flags, changes, old, device),
        instance_types=flags.take(
            "--instance-type",
            changes.instance_types,
            lambda words: _each(values.instance_type, words),
            old.instance_types,
        ),
        architecture=flags.take("--architecture", changes.architecture, values.architecture, old.architecture),
        regions=regions,
        zones=zones,
        spot=flags.take("--spot", changes.spot, values.spot, old.spot),
        image=flags.take("--image", changes.image, values.image, old.image),
        disk_gib=flags.take("--disk", changes.disk, values.disk_gib, old.disk_gib),
    )


def _with_gpu(flags: _Flags, changes: Overrides, old: Requirements, device: Device) -> Requirements:
    """A GPU that only the device asked for comes and goes with the device; one that was named stays."""
    asked = flags.take("--gpu", changes.gpu, lambda text: _gpu(text, device), None)
    if asked:
        return replace(old, gpu_kind=asked.kind, gpu_count=asked.count, gpu_memory_bytes=asked.memory)
    named = old.gpu_kind or old.gpu_memory_bytes or old.gpu_count > 1
    if changes.device is None or named:
        return old
    return replace(old, gpu_count=1 if device is Device.GPU else 0)


def _gpu(text: object, device: Device) -> GpuFields:
    from launcher.spec.models import GpuFields  # noqa: PLC0415 - pydantic models, for this flag alone

    # A flag is always text: `--gpu 2` is a count, as `gpu: 2` is in a spec.
    digits = isinstance(text, str) and text.isdecimal()
    fields = GpuFields.model_validate(values.gpu(int(str(text)) if digits else text))
    if fields.count == 0 and device is Device.GPU:
        raise ValueError("no GPU is asked for, but the device is gpu; expected `--device cpu`, or a GPU")
    return fields


def _limits(flags: _Flags, changes: Overrides, old: Limits) -> Limits:
    return replace(
        old,
        max_hours=flags.take("--max-hours", changes.max_hours, values.hours, old.max_hours),
        max_cost_usd=flags.take("--max-cost", changes.max_cost, values.cost_usd, old.max_cost_usd),
        max_price_usd_per_hour=flags.take(
            "--max-price", changes.max_price, values.price_usd_per_hour, old.max_price_usd_per_hour
        ),
    )


def _each(parse: Callable[[object], str], words: object) -> tuple[str, ...]:
    return tuple(parse(word) for word in values.listed(words))
