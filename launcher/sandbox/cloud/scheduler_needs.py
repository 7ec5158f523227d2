"""What a request to EventBridge Scheduler takes in permissions.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EventBridge Scheduler".
"""

from __future__ import annotations

from launcher.sandbox.cloud.account import SCHEDULER
from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.policies import Need, Unjudged
from launcher.sandbox.cloud.wire import Call

_ON_SCHEDULE = frozenset({"CreateSchedule", "UpdateSchedule", "DeleteSchedule", "GetSchedule"})
_ON_GROUP = frozenset({"CreateScheduleGroup", "DeleteScheduleGroup", "GetScheduleGroup"})


def needs(call: Call) -> list[Need]:
    """Every permission that it takes; raises `Unjudged`."""
    own = f"arn:aws:scheduler:{call.region}:{ACCOUNT}"
    action, params = f"scheduler:{call.action}", call.params
    if call.action == "ListSchedules":
        return [Need(action=action, resource=f"{own}:schedule/*/*")]
    if call.action in _ON_GROUP:
        return [Need(action=action, resource=f"{own}:schedule-group/{params.get('Name', '')}")]
    if call.action not in _ON_SCHEDULE:
        raise Unjudged(action)
    place = f"{params.get('GroupName') or 'default'}/{params.get('Name', '')}"
    found = [Need(action=action, resource=f"{own}:schedule/{place}")]
    role = str((params.get("Target") or {}).get("RoleArn", ""))
    if role:
        found.append(Need(action="iam:PassRole", resource=role, context={"iam:PassedToService": SCHEDULER}))
    return found
