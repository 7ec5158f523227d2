"""What a machine of EC2 knows of itself: its metadata service, version 2.

Source: Amazon EC2 User Guide, "Use the Instance Metadata Service", "Use instance tags in instance metadata".
"""

from __future__ import annotations

import http.client
import os
from contextlib import closing
from dataclasses import dataclass

from launcher.agent import notice
from launcher.errors import RemoteError

TAGS = "tags/instance/"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """This machine."""

    instance_id: str
    tags: dict[str, str]


def about() -> About:
    """Ask the metadata service; raises `RemoteError` where nobody answers."""
    try:
        service = notice.Service(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or notice.ADDRESS)
        line = http.client.HTTPConnection(service.host, service.port, timeout=notice.TIMEOUT_S)
        with closing(line):
            keys = _get(service, line, TAGS).split()
            tags = {key: _get(service, line, TAGS + key) for key in keys}
            return About(instance_id=_get(service, line, "instance-id"), tags=tags)
    except notice.FAILURES as error:
        raise RemoteError(
            f"this machine's metadata service does not answer: {error}",
            hint="this is what machines of `gpurun schedule deploy` run; elsewhere: gpurun schedule run-due",
        ) from error


def _get(service: notice.Service, line: http.client.HTTPConnection, name: str) -> str:
    status, body, _ = service.get(line, name)
    return body.decode() if status == http.client.OK else ""
