"""A run on a machine of the user's own, planned: the machine asked what it is, its host key judged, nothing priced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from launcher.cost import NOTHING
from launcher.domain import Device, Endpoint, HostKey, Image, JobSpec, Market, Offer, Plan
from launcher.errors import HostKeyMismatch, HostUnreachable, SpecError
from launcher.paths import StatePaths
from launcher.places.address import Address
from launcher.places.look import Found, look
from launcher.places.owned import endpoint, lines_to
from launcher.sync.ssh.first_contact import Trust, trusted_keys
from launcher.sync.ssh.ssh_config import resolve
from launcher.sync.ssh.trusted_hosts import recorded_name

CONNECT_TIMEOUT_S = 10.0
"""It does not boot: what answers at all answers soon."""
NO_IMAGE = Image(image_id="", name="", region="", architecture="", root_device="", root_size_gib=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """What `creation.create` takes, with no account."""

    spec: JobSpec
    """As given, but for what only a cloud has."""
    plan: Plan
    found: Found


def arrange(spec: JobSpec, address: Address, *, state: StatePaths, trust: Trust) -> Arranged:
    """Reach the machine and plan a run there; nothing is written to it.

    Raises `HostUnreachable`, `HostKeyMismatch`, `NoPython`, and `SpecError` for what a machine of one's own lacks.
    """
    if isinstance(spec.outputs, str):
        raise SpecError(
            f"outputs: {spec.outputs} is for machines that may be taken away; {address.name} keeps what it has",
            hint="--outputs FOLDER, or leave it out",
        )
    try:
        host_keys, found = _reached(spec, address, state, trust)
    except HostUnreachable as error:
        of_a_run = error.hint.startswith("gpurun ")  # and there is none yet
        raise HostUnreachable(error.message, hint=f"ssh {address}" if of_a_run else error.hint) from None
    offer = _offer(address, found)
    plan = Plan(
        offers=(offer,),
        image=NO_IMAGE,
        cost=NOTHING,
        dearest=NOTHING,
        hours=spec.limits.max_hours,
        warnings=_warnings(spec, address, found),
        place=str(address),
        host_keys=host_keys,
    )
    return Arranged(spec=replace(spec, limits=replace(spec.limits, max_restarts=0)), plan=plan, found=found)


def _reached(spec: JobSpec, address: Address, state: StatePaths, trust: Trust) -> tuple[tuple[HostKey, ...], Found]:
    host_keys: tuple[HostKey, ...] = ()
    if not address.here:
        host_keys = trusted_keys(endpoint(address, spec, ()), trust, timeout_s=CONNECT_TIMEOUT_S)
    lines = lines_to(address, spec, host_keys, state)
    try:
        return host_keys, look(lines.control.fresh(CONNECT_TIMEOUT_S), address.name)
    except HostKeyMismatch as error:
        raise _changed(error, endpoint(address, spec, host_keys)) from None
    finally:
        lines.close()


def _changed(error: HostKeyMismatch, to: Endpoint) -> HostKeyMismatch:
    route = resolve(to)
    if route.jumps:  # it may be theirs
        return error
    hint = f"if the machine was set up anew: ssh-keygen -R '{recorded_name(route.target)}', and launch again"
    return HostKeyMismatch(error.message, hint=hint)


def _offer(address: Address, found: Found) -> Offer:
    return Offer(
        instance_type=address.name,
        region="",
        zone="",
        market=Market.YOURS,
        price_usd_per_hour=0.0,
        on_demand_usd_per_hour=None,
        vcpus=found.vcpus,
        memory_bytes=found.memory_bytes,
        architecture=found.architecture,
        gpu=found.gpu,
        priced_at=datetime.now(UTC),
        source="live",
    )


def _warnings(spec: JobSpec, address: Address, found: Found) -> tuple[str, ...]:
    devices = [leg.device for leg in spec.legs] or [spec.device]
    if Device.GPU in devices and found.gpu is None:
        return (f"the job is to run on a GPU, and nvidia-smi shows none on {address.name}",)
    return ()
