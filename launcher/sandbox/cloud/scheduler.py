"""EventBridge Scheduler, in place of moto's, which accepts anything and runs nothing.

Source: Amazon EventBridge Scheduler API Reference, for groups CreateScheduleGroup and DeleteScheduleGroup; what it says
of a time in the past, of a fraction of a second and of a role that it may not take is as users report it: the first is
accepted and acts at once. What becomes of a change to a group that is being deleted, or of its second deletion, is in
no document: here the first is a conflict and the second is accepted.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, NoReturn

from launcher.sandbox.cloud import expressions, targets
from launcher.sandbox.cloud.account import SCHEDULER
from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.schedules import Group, Schedule
from launcher.sandbox.cloud.wire import Answer, Call, json_answer
from launcher.sandbox.cloud.world import World

DEFAULT_GROUP = "default"
_NAME = re.compile(r"[0-9a-zA-Z-_.]{1,64}")
_TOKEN = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_ASSUME = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
_ENUMS = {"State": ("ENABLED", "DISABLED"), "ActionAfterCompletion": ("NONE", "DELETE")}
_LIMITS = {"MaximumEventAgeInSeconds": (60, 86_400), "MaximumRetryAttempts": (0, 185)}
_PAGE = 100
_STATUS = {"ConflictException": 409, "ResourceNotFoundException": 404}


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer(world: World, call: Call) -> Answer:
    """One call of the API."""
    operation = _OPERATIONS.get(call.action, _unknown)
    try:
        with world.schedules.lock:
            return json_answer(operation(world, call), content_type="application/json")
    except _Refused as no:
        value = {"__type": no.code, "Message": str(no)}
        return json_answer(value, status=_STATUS.get(no.code, 400), content_type="application/json")


def _create(world: World, call: Call) -> object:
    place, token = _place(call), str(call.params.get("ClientToken", ""))
    _check_open(world, call.region, place[1])
    old = world.schedules.get(place)
    if old is not None and token and token == old.token and old.asked == _asked(call):
        return {"ScheduleArn": _arn(place)}
    wanted = _checked(world, call, token, time.time())
    if old is not None:
        raise _Refused("ConflictException", f"Schedule {place[2]} already exists.")
    world.schedules.put(wanted)
    return {"ScheduleArn": _arn(place)}


def _update(world: World, call: Call) -> object:
    found = _found(world, call)
    _check_open(world, call.region, found.place[1])
    wanted = _checked(world, call, "", found.created_at)
    world.schedules.put(wanted)
    return {"ScheduleArn": _arn(wanted.place)}


def _get(world: World, call: Call) -> object:
    found = _found(world, call)
    defaults = {"ScheduleExpressionTimezone": "UTC", "State": "ENABLED", "ActionAfterCompletion": "NONE"}
    return defaults | dict(found.asked) | _stamps(found)


def _delete(world: World, call: Call) -> object:
    world.schedules.remove(_found(world, call).place)
    return {}


def _list(world: World, call: Call) -> object:
    group, state = call.params.get("GroupName"), call.params.get("State")
    if group is not None:
        _check_group(world, call.region, str(group))
    found = [
        _stamps(each) | {"State": each.asked.get("State", "ENABLED"), "Target": {"Arn": each.asked["Target"]["Arn"]}}
        for each in world.schedules.listed(call.region)
        if group in {None, each.place[1]}
        and each.place[2].startswith(str(call.params.get("NamePrefix", "")))
        and state in {None, each.asked.get("State", "ENABLED")}
    ]
    return _page("Schedules", found, call)


def _create_group(world: World, call: Call) -> object:
    place = (call.region, _name(call, "Name"))
    if place in world.schedules.groups or place[1] == DEFAULT_GROUP:
        raise _Refused("ConflictException", f"Schedule group {place[1]} already exists.")
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in call.params.get("Tags", [])}
    world.schedules.groups[place] = Group(created_at=time.time(), tags=tags)
    return {"ScheduleGroupArn": _group_arn(*place)}


def _get_group(world: World, call: Call) -> object:
    name = _name(call, "Name")
    return _group_row(call.region, name, _group(world, call.region, name))


def _delete_group(world: World, call: Call) -> object:
    name = _name(call, "Name")
    if name == DEFAULT_GROUP:
        raise _Refused("ValidationException", "The default schedule group cannot be deleted.")
    if _group(world, call.region, name).state == "ACTIVE":
        world.schedules.remove_group((call.region, name), world.settings.group_deleting_s)
    return {}


def _list_groups(world: World, call: Call) -> object:
    own = sorted(name for region, name in world.schedules.groups if region == call.region)
    prefix = str(call.params.get("NamePrefix", ""))
    names = [name for name in (DEFAULT_GROUP, *own) if name.startswith(prefix)]
    rows = [_group_row(call.region, name, _group(world, call.region, name)) for name in names]
    return _page("ScheduleGroups", rows, call)


def _tags(world: World, call: Call) -> object:
    found = _tagged(world, call).tags
    return {"Tags": [{"Key": key, "Value": value} for key, value in found.items()]}


def _tag(world: World, call: Call) -> object:
    _tagged(world, call).tags.update({str(tag["Key"]): str(tag["Value"]) for tag in call.params.get("Tags", [])})
    return {}


def _untag(world: World, call: Call) -> object:
    tags = _tagged(world, call).tags
    for key in call.params.get("TagKeys", []):
        tags.pop(key, None)
    return {}


def _unknown(_world: World, call: Call) -> NoReturn:
    raise _Refused("ValidationException", f"The sandbox's Scheduler has no {call.action}.")


_OPERATIONS: dict[str, Callable[[World, Call], object]] = {
    "CreateSchedule": _create,
    "UpdateSchedule": _update,
    "GetSchedule": _get,
    "DeleteSchedule": _delete,
    "ListSchedules": _list,
    "CreateScheduleGroup": _create_group,
    "GetScheduleGroup": _get_group,
    "DeleteScheduleGroup": _delete_group,
    "ListScheduleGroups": _list_groups,
    "ListTagsForResource": _tags,
    "TagResource": _tag,
    "UntagResource": _untag,
}


def _checked(world: World, call: Call, token: str, created_at: float) -> Schedule:
    """The schedule that a call asks for; every mistake is refused."""
    if token and not _TOKEN.fullmatch(token):
        raise _constraint("clientToken", token, f"regular expression pattern: {_TOKEN.pattern}")
    for name, allowed in _ENUMS.items():
        if call.params.get(name, allowed[0]) not in allowed:
            raise _constraint(name, call.params[name], f"enum value set: {list(allowed)}")
    _check_window(call.params.get("FlexibleTimeWindow") or {})
    _check_target(world, call.params.get("Target") or {}, _group_arn(call.region, _place(call)[1]))
    now = time.time()
    text = str(call.params.get("ScheduleExpression", ""))
    began = max(now, float(call.params.get("StartDate") or 0.0))
    try:
        expression = expressions.parse(text, str(call.params.get("ScheduleExpressionTimezone") or "UTC"), began)
    except ValueError as error:
        raise _Refused("ValidationException", str(error)) from None
    return Schedule(
        place=_place(call),
        asked=_asked(call),
        expression=expression,
        created_at=created_at,
        changed_at=now,
        token=token,
    )


def _check_window(window: dict[str, Any]) -> None:
    mode, minutes = window.get("Mode"), window.get("MaximumWindowInMinutes")
    if mode not in {"OFF", "FLEXIBLE"}:
        raise _constraint("flexibleTimeWindow.mode", mode, "enum value set: [OFF, FLEXIBLE]")
    if (mode == "FLEXIBLE") != (minutes is not None) or not 1 <= int(minutes or 1) <= 1440:
        raise _Refused("ValidationException", f"Invalid FlexibleTimeWindow: {mode} with {minutes} minutes.")


def _check_target(world: World, target: dict[str, Any], group_arn: str) -> None:
    wrong = targets.problem(str(target.get("Arn", "")))
    if wrong:
        raise _Refused("ValidationException", wrong)
    for name, (lowest, highest) in _LIMITS.items():
        value = target.get("RetryPolicy", {}).get(name, lowest)
        if not lowest <= int(value) <= highest:
            raise _constraint(f"target.retryPolicy.{name}", value, f"value between {lowest} and {highest}")
    try:
        good = isinstance(json.loads(target.get("Input") or "{}"), dict)
    except ValueError:
        good = False
    if not good:
        raise _Refused("ValidationException", "Invalid Input: it must be a JSON object.")
    context = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": group_arn}
    with world.lock:
        if not world.account.assumable(str(target.get("RoleArn", "")), SCHEDULER, context):
            raise _Refused("ValidationException", _ASSUME)


def _constraint(name: str, value: object, rule: str) -> _Refused:
    message = f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
    return _Refused("ValidationException", f"{message}Member must satisfy {rule}")


def _asked(call: Call) -> dict[str, Any]:
    return {"GroupName": DEFAULT_GROUP} | {name: call.params[name] for name in call.params if name != "ClientToken"}


def _name(call: Call, parameter: str, default: str = "") -> str:
    name = str(call.params.get(parameter, default))
    if not _NAME.fullmatch(name):
        raise _constraint(parameter, name, f"regular expression pattern: ^{_NAME.pattern}$")
    return name


def _place(call: Call) -> tuple[str, str, str]:
    return call.region, _name(call, "GroupName", DEFAULT_GROUP), _name(call, "Name")


def _found(world: World, call: Call) -> Schedule:
    place = _place(call)
    _check_group(world, call.region, place[1])
    found = world.schedules.get(place)
    if found is None:
        raise _Refused("ResourceNotFoundException", f"Schedule {place[2]} does not exist.")
    return found


def _check_group(world: World, region: str, name: str) -> None:
    _group(world, region, name)


def _check_open(world: World, region: str, name: str) -> None:
    if _group(world, region, name).state == "DELETING":
        raise _Refused("ConflictException", f"Schedule group {name} is being deleted.")


def _group(world: World, region: str, name: str) -> Group:
    found = world.schedules.groups.get((region, name))
    if found is None and name == DEFAULT_GROUP:
        return Group(created_at=0.0)
    if found is None:
        raise _Refused("ResourceNotFoundException", f"Schedule group {name} does not exist.")
    return found


def _tagged(world: World, call: Call) -> Group:
    kind, _, name = str(call.params["ResourceArn"]).rpartition(":")[2].partition("/")
    if kind != "schedule-group":
        raise _Refused("ValidationException", "Only schedule groups have tags.")
    return _group(world, call.region, name)


def _arn(place: tuple[str, str, str]) -> str:
    region, group, name = place
    return f"arn:aws:scheduler:{region}:{ACCOUNT}:schedule/{group}/{name}"


def _group_arn(region: str, name: str) -> str:
    return f"arn:aws:scheduler:{region}:{ACCOUNT}:schedule-group/{name}"


def _group_row(region: str, name: str, group: Group) -> dict[str, Any]:
    stamps = {"CreationDate": group.created_at, "LastModificationDate": group.created_at} if group.created_at else {}
    return {"Arn": _group_arn(region, name), "Name": name, "State": group.state, **stamps}


def _stamps(found: Schedule) -> dict[str, Any]:
    _, group, name = found.place
    return {
        "Arn": _arn(found.place),
        "GroupName": group,
        "Name": name,
        "CreationDate": found.created_at,
        "LastModificationDate": found.changed_at,
    }


def _page(key: str, rows: list[dict[str, Any]], call: Call) -> dict[str, Any]:
    size = min(_PAGE, int(call.params.get("MaxResults") or _PAGE))
    start = int(call.params.get("NextToken") or 0)
    more = {"NextToken": str(start + size)} if start + size < len(rows) else {}
    return {key: rows[start : start + size], **more}
