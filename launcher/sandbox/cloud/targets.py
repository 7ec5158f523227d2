"""Universal targets: a schedule calls any operation of any service that the sandbox answers, under a role.

Source: EventBridge Scheduler User Guide, "Using universal targets".
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.config import Config

from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.world import World

ACCESS_KEY = "ASIASANDBOXSCHEDULER"
"""Who signs the calls of schedules."""
_ARN = re.compile(r"arn:aws:scheduler:::aws-sdk:([a-z0-9]+):([a-z][A-Za-z0-9]*)")
_READS = ("get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read")
"""Operations that only read, which Scheduler refuses as targets."""


class Denied(Exception):
    """The role's policies do not allow what its schedule is to do."""


def problem(arn: str) -> str:
    """What is wrong with a target; empty where it can be called."""
    found = _ARN.fullmatch(arn)
    if found is None:
        return f"{arn} is no target that the sandbox knows: it has universal targets alone."
    service, operation = found.groups()
    if service not in _session().get_available_services():
        return f"{service} is not a supported service for a target."
    if _operation(service, operation) is None or operation.startswith(_READS):
        return f"{operation} is not a supported api for service {service}."
    return ""


def caller(world: World, endpoint_url: str) -> Callable[[str, Mapping[str, Any]], None]:
    """What calls a target in a region; raises `Denied`, or what the service answers."""
    clients: dict[tuple[str, str], Any] = {}
    lock = threading.Lock()

    def call(region: str, target: Mapping[str, Any]) -> None:
        found = _ARN.fullmatch(target["Arn"])
        if found is None:
            raise ValueError(target["Arn"])
        service, operation = found.groups()
        given = json.loads(target.get("Input") or "{}")
        _check(world, region, target["RoleArn"], f"{service}:{_operation(service, operation)}", given)
        with lock:
            if (service, region) not in clients:
                clients[service, region] = _client(service, region, endpoint_url)
        getattr(clients[service, region], xform_name(_operation(service, operation) or operation))(**given)

    return call


def prepare() -> None:
    """Load what the first schedule needs."""
    _operation("ec2", "terminateInstances")


def _check(world: World, region: str, role_arn: str, action: str, given: Mapping[str, Any]) -> None:
    with world.lock:
        for resource, tags in _resources(region, action, given):
            if not world.account.permits(role_arn, action, resource, tags):
                raise Denied(f"{role_arn} is not authorized to perform: {action} on resource: {resource}")


def _resources(region: str, action: str, given: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """What the call touches, each with its tags; of an operation that is not known here, anything."""
    if action != "ec2:TerminateInstances":
        return [("*", {})]
    from moto.ec2.models import ec2_backends  # noqa: PLC0415 - moto reads the environment when it is imported

    known = {each.id: each for each in ec2_backends[ACCOUNT][region].all_instances()}
    return [
        (
            f"arn:aws:ec2:{region}:{ACCOUNT}:instance/{each}",
            {tag["key"]: tag["value"] for tag in known[each].get_tags()},
        )
        for each in given.get("InstanceIds", [])
        if each in known
    ]


def _client(service: str, region: str, endpoint_url: str) -> Any:
    return _session().create_client(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key="schedule",  # noqa: S106 - the sandbox checks no signatures
        config=Config(retries={"total_max_attempts": 1}),  # the schedule has a retry policy of its own
    )


@lru_cache
def _session() -> Any:
    return botocore.session.Session()


@lru_cache
def _operation(service: str, operation: str) -> str | None:
    """Its name as the API has it; `None` where it has none such."""
    names = _session().get_service_model(service).operation_names
    wanted = operation[:1].upper() + operation[1:]
    return wanted if wanted in names else None
