"""A quick writer of EC2's XML for the long, constant answers; moto's own takes a millisecond or two per item."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

from botocore.model import ListShape, Shape, StructureShape
from moto.core.utils import get_service_model

from launcher.sandbox.cloud.wire import Answer

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


@cache
def item_shape(operation: str, member: str) -> Shape:
    """The shape of what the list `member` of an operation's answer holds."""
    listed = _output(operation).members[member]
    if not isinstance(listed, ListShape):
        raise TypeError(f"{operation}.{member} is not a list")
    return listed.member


def _output(operation: str) -> StructureShape:
    shape: StructureShape = get_service_model("ec2").operation_model(operation).output_shape
    return shape


def written(shape: Shape, name: str, value: Any) -> str:
    """One element."""
    if isinstance(shape, StructureShape):
        inner = "".join(
            written(member, str(member.serialization.get("name", key)), value[key])
            for key, member in shape.members.items()
            if value.get(key) is not None
        )
    elif isinstance(shape, ListShape):
        item = str(shape.member.serialization.get("name", "item"))
        inner = "".join(written(shape.member, item, each) for each in value)
    else:
        inner = str(value).lower() if isinstance(value, bool) else escape(str(value), quote=False)
    return f"<{name}>{inner}</{name}>"


def listing(operation: str, member: str, items: list[str], next_token: str | None = None) -> Answer:
    """A Describe answer made of items that are written already."""
    name = str(_output(operation).members[member].serialization.get("name", member))
    token = f"<nextToken>{escape(next_token)}</nextToken>" if next_token else ""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation}Response xmlns="{_NAMESPACE}">'
        f"<requestId>00000000-0000-0000-0000-000000000000</requestId>"
        f"<{name}>{''.join(items)}</{name}>{token}</{operation}Response>"
    )
    return Answer(status=200, body=body.encode())
