"""The run's machine: the one it has, or a new one, running and with an address."""

from __future__ import annotations

from launcher.acquire import acquire, offer_of
from launcher.aws import fleet
from launcher.domain import Instance, RunStatus
from launcher.errors import MachineGone
from launcher.live import LiveRun

BOOT_TIMEOUT_S = 300.0
"""A g5 boots in 30 to 90 s; five minutes without SSH is a broken image or a closed door."""


def machine(live: LiveRun) -> Instance:
    """The run's machine: the one it has, or a new one.

    Raises a `ProvisionError` that names every pool's refusal, and `MachineGone` when the run's machine is gone.
    """
    if live.record.instance_id is not None or live.has_event("fleet.intent"):
        found = _existing(live)
        if found is not None:
            return found
    return _adopt(live, acquire(live).instance)


def _existing(live: LiveRun) -> Instance | None:
    instances = fleet.find(live.aws, run_id=live.run_id)
    standing = [instance for instance in instances if instance.state in {"pending", "running"}]
    if standing:
        return _adopt(live, standing[0])
    if instances or live.record.instance_id is not None:
        reason = instances[0].state_reason if instances else "EC2 does not know it any more"
        raise MachineGone(
            f"the machine of run {live.run_id} is gone: {reason or 'terminated'}",
            hint=f"what came home lies in {live.record.results_dir}; `gpurun down {live.run_id}` closes the run",
        )
    return None


def _adopt(live: LiveRun, instance: Instance) -> Instance:
    price = offer_of(live.plan, instance).price_usd_per_hour
    live.update(
        instance_id=instance.instance_id,
        instance_type=instance.instance_type,
        zone=instance.zone,
        region=instance.region,
        market=instance.market.value,
        price_usd_per_hour=price,
    )
    live.aws = live.aws.at(instance.region)
    live.event("instance", id=instance.instance_id, zone=instance.zone, price_usd_per_hour=price)
    return instance


def boot(live: LiveRun, instance: Instance) -> Instance:
    """Wait until EC2 says that the machine runs and where."""
    if live.record.status is RunStatus.PROVISIONING:
        live.advance(RunStatus.BOOTING)
    ready = fleet.wait_running(live.aws, instance.instance_id, timeout_s=BOOT_TIMEOUT_S)
    live.update(address=ready.public_address or ready.private_address)
    return ready
