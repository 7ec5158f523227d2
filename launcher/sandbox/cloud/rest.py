"""What a request to a REST service asks for: its operation and parameters, from its method, path and body.

Source: Amazon EventBridge Scheduler API Reference.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

_OPERATIONS = {
    ("POST", "schedules"): "CreateSchedule",
    ("PUT", "schedules"): "UpdateSchedule",
    ("GET", "schedules"): "GetSchedule",
    ("DELETE", "schedules"): "DeleteSchedule",
    ("POST", "schedule-groups"): "CreateScheduleGroup",
    ("GET", "schedule-groups"): "GetScheduleGroup",
    ("DELETE", "schedule-groups"): "DeleteScheduleGroup",
    ("POST", "tags"): "TagResource",
    ("GET", "tags"): "ListTagsForResource",
    ("DELETE", "tags"): "UntagResource",
}
_LISTS = {"schedules": "ListSchedules", "schedule-groups": "ListScheduleGroups"}
_QUERY = {"groupName": "GroupName", "ScheduleGroup": "GroupName", "clientToken": "ClientToken"}
_MANY = frozenset({"TagKeys"})


def scheduler_call(method: str, path: str, query: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The operation, empty where there is no such, and its parameters under the API's own names."""
    kind, _, rest = path.strip("/").partition("/")
    params: dict[str, Any] = dict(body)
    for key, value in parse_qsl(query, keep_blank_values=True):
        name = _QUERY.get(key, key)
        params[name] = [*params.get(name, []), value] if name in _MANY else value
    if not rest:
        return (_LISTS.get(kind, "") if method == "GET" else ""), params
    params["ResourceArn" if kind == "tags" else "Name"] = unquote(rest)
    return _OPERATIONS.get((method, kind), ""), params
