"""The way in to a machine: the run's security group, made while the machine boots and put on it once it runs."""

from __future__ import annotations

from launcher.aws import network
from launcher.domain import Instance
from launcher.live import LiveRun
from launcher.search import tags_of


def make(live: LiveRun, region: str) -> str:
    """The id of the run's group in a region, open to this laptop and nobody else; harmless when done twice."""
    aws = live.aws.at(region)
    resource = live.ledger.intend(live.run_id, "security-group", f"gpurun-{live.run_id}", region)
    address = network.caller_address(aws)
    prefix = 128 if ":" in address else 32
    ingress = network.open_ingress(aws, run_id=live.run_id, cidr=f"{address}/{prefix}", tags=tags_of(live))
    live.ledger.confirm(resource, ingress.group_id)
    return ingress.group_id


def is_open(live: LiveRun, instance_id: str) -> bool:
    """Whether the group was put on that machine."""
    return any(data["id"] == instance_id for data in live.told("door"))


def put_on(live: LiveRun, instance: Instance, group_id: str) -> None:
    """Put the group on a running machine, which until then lets nobody in."""
    network.admit(live.aws.at(instance.region), instance.instance_id, group_id)
    live.event("door", id=instance.instance_id, group=group_id)
