"""What 169.254.169.254 answers: the instance metadata service, version 2 with tokens and version 1 where allowed.

Source: Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from launcher.sandbox.machine import MetadataAnswer

if TYPE_CHECKING:
    from launcher.sandbox.cloud.guest import Guest

_TTL = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "x-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_MAX_TTL_S = 21600
_NOT_FOUND = MetadataAnswer(status=404, body=b"Not Found")


def answer(guest: Guest, method: str, path: str, headers: dict[str, str]) -> MetadataAnswer:
    """One request of a guest to its metadata service; header names are lower case."""
    path = path.partition("?")[0].rstrip("/")
    if guest.instance.metadata_options.http_endpoint == "disabled":
        return MetadataAnswer(status=403, body=b"Forbidden")
    if path == "/latest/api/token":
        return _new_token(guest, method, headers)
    if method not in {"GET", "HEAD"}:
        return MetadataAnswer(status=405, body=b"Method Not Allowed")
    if not _token_holds(guest, headers):
        return MetadataAnswer(status=401, body=b"Unauthorized")
    inner = re.sub(r"^/(latest|\d{4}-\d\d-\d\d)(/|$)", "", path)
    identity = guest.instance.identity
    role = identity.leaves() if identity is not None and ("/iam" in inner or inner == "meta-data") else {}
    return _lookup(_tree(guest) | role, inner)


def _new_token(guest: Guest, method: str, headers: dict[str, str]) -> MetadataAnswer:
    ttl = headers.get(_TTL, "")
    if method != "PUT":
        return MetadataAnswer(status=405, body=b"Method Not Allowed")
    if not (ttl.isascii() and ttl.isdecimal()) or not 1 <= int(ttl) <= _MAX_TTL_S:
        return MetadataAnswer(status=400, body=b"Bad Request")
    token = secrets.token_urlsafe(32)
    guest.tokens[token] = time.monotonic() + int(ttl)
    return MetadataAnswer(status=200, body=token.encode())


def _token_holds(guest: Guest, headers: dict[str, str]) -> bool:
    token = headers.get(_TOKEN)
    if token is None:
        return bool(guest.instance.metadata_options.http_tokens != "required")
    return guest.tokens.get(token, 0.0) > time.monotonic()


def _lookup(tree: dict[str, bytes], path: str) -> MetadataAnswer:
    """A leaf's value, or what lies below a folder."""
    if path in tree:
        return MetadataAnswer(status=200, body=tree[path])
    prefix = f"{path}/" if path else ""
    below = {key[len(prefix) :].partition("/")[:2] for key in tree if key.startswith(prefix)}
    if not below:
        return _NOT_FOUND
    names = sorted(name + slash for name, slash in below)
    return MetadataAnswer(status=200, body="\n".join(names).encode())


def _tree(guest: Guest) -> dict[str, bytes]:
    """Every leaf by its path below `/latest/`."""
    tree = {f"meta-data/{name}": value.encode() for name, value in _meta_data(guest).items() if value}
    tree["dynamic/instance-identity/document"] = _identity(guest)
    if guest.user_data:
        tree["user-data"] = guest.user_data
    return tree


def _meta_data(guest: Guest) -> dict[str, str]:
    instance = guest.instance
    values = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "hostname": instance.private_dns_name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "spot" if instance.lifecycle == "spot" else "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": instance.private_ip or "",
        "mac": guest.mac,
        "placement/availability-zone": instance.availability_zone,
        "placement/region": instance.region_name,
        "public-hostname": instance.public_dns_name or "",
        "public-ipv4": instance.public_ip or "",
        "security-groups": "\n".join(group.name for group in instance.security_groups),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    return values | _interface(guest) | _key(guest) | _events(guest) | _tags(instance)


def _interface(guest: Guest) -> dict[str, str]:
    base, instance = f"network/interfaces/macs/{guest.mac}", guest.instance
    return {
        f"{base}/device-number": "0",
        f"{base}/local-ipv4s": instance.private_ip or "",
        f"{base}/mac": guest.mac,
        f"{base}/public-ipv4s": instance.public_ip or "",
        f"{base}/subnet-id": instance.subnet_id or "",
        f"{base}/vpc-id": instance.vpc_id or "",
    }


def _key(guest: Guest) -> dict[str, str]:
    if guest.authorized_key is None:
        return {}
    return {"public-keys/0/openssh-key": guest.authorized_key}


def _events(guest: Guest) -> dict[str, str]:
    """The two-minute notice and the rebalance recommendation, once they are given."""
    events = {}
    if guest.notice_at is not None:
        moment = _iso(guest.notice_at)
        events["spot/instance-action"] = json.dumps({"action": "terminate", "time": moment})
        events["spot/termination-time"] = moment
    if guest.rebalance_at is not None:
        events["events/recommendations/rebalance"] = json.dumps({"noticeTime": _iso(guest.rebalance_at)})
    return events


def _tags(instance: Any) -> dict[str, str]:
    if instance.metadata_options.instance_metadata_tags != "enabled":
        return {}
    return {f"tags/instance/{tag['key']}": tag["value"] for tag in instance.get_tags()}


def _identity(guest: Guest) -> bytes:
    instance = guest.instance
    document = {
        "accountId": instance.owner_id,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "pendingTime": _iso(instance.launch_time.replace(tzinfo=UTC).timestamp()),
        "privateIp": instance.private_ip,
        "region": instance.region_name,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2).encode()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decoded_user_data(instance: Any) -> bytes:
    """The user data of a moto instance, as the caller sent it."""
    return base64.b64decode(instance.user_data.as_bytes()) if instance.user_data else b""
