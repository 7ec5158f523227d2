"""Where the legs of a comparison run: which places there are, and which devices each is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.domain import Device
from launcher.errors import SpecError

LOCAL = "local"
AWS = "aws"
SSH = "ssh://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One machine that legs take turns on."""

    name: str
    """`local`, `ssh://user@host`, or on AWS an instance type, or `cpu` or `gpu` for the cheapest with such a device."""
    devices: tuple[Device, ...]

    @property
    def rented(self) -> bool:
        """Whether it is a machine of AWS's."""
        return self.name != LOCAL and not self.name.startswith(SSH)

    @property
    def instance_types(self) -> tuple[str, ...]:
        """The one type that it must be of; none where any will do."""
        return (self.name,) if self.rented and self.name not in {*Device} else ()


def places(on: str, devices: Sequence[Device], instance_types: Sequence[str]) -> tuple[Place, ...]:
    """The places that `--on` and `--instance-types` mean, without those that no device is for.

    Raises `SpecError` for both at once: a type is a place of its own.
    """
    if instance_types:
        if on not in {"", "same", AWS}:
            raise SpecError(
                f"--instance-types names machines of AWS's, --on {on} another place", hint="leave one of them out"
            )
        return tuple(Place(name=name, devices=tuple(devices)) for name in instance_types)
    found = [(_aws(chosen) if name == AWS else name, chosen) for name, chosen in _halves(on or "same", devices)]
    return tuple(Place(name=name, devices=chosen) for name, chosen in found if chosen)


def _halves(on: str, devices: Sequence[Device]) -> list[tuple[str, tuple[Device, ...]]]:
    cpu = tuple(device for device in devices if device is Device.CPU)
    gpu = tuple(device for device in devices if device is Device.GPU)
    if on == "best":
        return [(AWS, cpu), (AWS, gpu)]
    first, plus, second = on.partition("+")
    if plus:
        return [(first, cpu), (second, gpu)]
    return [(AWS if on == "same" else on, tuple(devices))]


def _aws(devices: Sequence[Device]) -> str:
    """One machine for all of them: with a GPU where any needs it."""
    return Device.GPU.value if Device.GPU in devices else Device.CPU.value


def able(found: Sequence[Place], has_gpu: Callable[[str], bool]) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """The places without what they cannot do, and what to tell of that; raises `SpecError` where nothing is left."""
    told = tuple(
        f"{place.name} has no GPU: there are no GPU legs on it"
        for place in found
        if Device.GPU in place.devices and place.instance_types and not has_gpu(place.name)
    )
    without = tuple(
        _without_gpu(place) if place.instance_types and not has_gpu(place.name) else place for place in found
    )
    kept = tuple(place for place in without if place.devices)
    if not kept:
        raise SpecError(
            f"none of {', '.join(place.name for place in found)} has a GPU, and only GPU legs are asked for",
            hint="gpurun offers --device gpu lists types that have one",
        )
    return kept, told


def _without_gpu(place: Place) -> Place:
    return Place(name=place.name, devices=tuple(each for each in place.devices if each is not Device.GPU))
