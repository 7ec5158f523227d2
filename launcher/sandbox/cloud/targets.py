"""Universal targets: a schedule calls any operation of any service that the sandbox answers, under a role.

Source: EventBridge Scheduler User Guide, "Using universal targets" and "Adding context attributes".
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.config import Config

from launcher.sandbox.cloud.schedules import Firing
from launcher.sandbox.cloud.sessions import SCHEDULER_KEY, Session
from launcher.sandbox.cloud.world import World

log = logging.getLogger(__name__)
_ARN = re.compile(r"arn:aws:scheduler:::aws-sdk:([a-z0-9]+):([a-z][A-Za-z0-9]*)")
_READS = ("get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read")
"""Operations that only read, which Scheduler refuses as targets."""


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


def text_of(target: Mapping[str, Any], firing: Firing) -> str:
    """A target's input with its context attributes filled in; another word in such brackets stays as it is."""
    text = str(target.get("Input") or "{}")
    for name, value in firing.attributes().items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def caller(world: World, endpoint_url: str) -> Callable[[Firing], None]:
    """What calls a schedule's target, under its role; raises what the service answers, a denial among it."""
    clients: dict[tuple[str, str, str], Any] = {}
    lock = threading.Lock()

    def call(firing: Firing) -> None:
        target, region = firing.target, firing.region
        found = _ARN.fullmatch(target["Arn"])
        if found is None:
            raise ValueError(target["Arn"])
        service, operation = found.groups()
        given = json.loads(text_of(target, firing))
        session = world.sessions.lend(target["RoleArn"], "schedule", SCHEDULER_KEY)
        with lock:
            if (service, region, session.token) not in clients:
                clients[service, region, session.token] = _client(service, region, endpoint_url, session)
        name = xform_name(_operation(service, operation) or operation)
        answer = getattr(clients[service, region, session.token], name)(**given)
        if answer.get("Errors"):
            log.warning("%s: %s answered, and failed in part: %s", firing.arn, operation, answer["Errors"])

    return call


def prepare() -> None:
    """Load what the first schedule needs."""
    _operation("ec2", "terminateInstances")


def _client(service: str, region: str, endpoint_url: str, session: Session) -> Any:
    return _session().create_client(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=session.access_key,
        aws_secret_access_key=session.secret_key,
        aws_session_token=session.token,
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
