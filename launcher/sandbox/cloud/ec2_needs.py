"""What a request to EC2 takes in permissions.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2"; EC2 User Guide, "Grant
permission to tag Amazon EC2 resources during creation". An instant fleet launches in the caller's name: what its
RunInstances lacks stands among the fleet's Errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moto.ec2.models import ec2_backends

from launcher.sandbox.cloud import profiles
from launcher.sandbox.cloud.account import EC2
from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.policies import Context, Need, Unjudged
from launcher.sandbox.cloud.wire import Call

Request = Mapping[str, Any]

LAUNCHES = frozenset({"CreateFleet", "RunInstances"})
"""Judged when the launch template has been read: see `of_launch` and `of_fleet`."""
_ON_INSTANCES = frozenset({"TerminateInstances", "StopInstances", "StartInstances", "RebootInstances"})


def needs(call: Call) -> list[Need]:
    """Every permission that it takes, but for launches; raises `Unjudged`."""
    action = f"ec2:{call.action}"
    if call.action in LAUNCHES:
        return []
    if call.action.startswith("Describe"):
        return [Need(action=action, resource="*")]
    if call.action not in _ON_INSTANCES:
        raise Unjudged(action)
    known = {each.id: each for each in ec2_backends[ACCOUNT][call.region].all_instances()}
    asked = [str(value) for name, value in call.params.items() if name.startswith("InstanceId.")]
    return [
        Need(action=action, resource=_arn(call.region, "instance", each), context=_tags_of(known[each]))
        for each in asked
        if each in known
    ]


def of_fleet(region: str, params: Request, templates: Iterable[str]) -> list[Need]:
    """What CreateFleet itself takes: the fleet, and the launch templates by their ids."""
    tags = _asked_tags(params, "fleet")
    fleet = _arn(region, "fleet", "*")
    found = [Need(action="ec2:CreateFleet", resource=fleet, context=_with_tags({}, tags))]
    for each in sorted(set(templates)):
        template = _arn(region, "launch-template", each)
        found.append(Need(action="ec2:CreateFleet", resource=template, context=_template_tags(region, each)))
    if tags:
        found.append(_tagging(fleet, tags, "CreateFleet"))
    return found


def of_launch(region: str, request: Request, template: str, by: str = "RunInstances") -> list[Need]:
    """What one launch takes, of a whole request, placed, with the launch template's id if it has one.

    AWS does not say whether tags that a fleet gives its instances are made by CreateFleet or by RunInstances (`by`):
    where the two differ, both are asked for.
    """
    by_template = {"ec2:LaunchTemplate": _arn(region, "launch-template", template)} if template else {}
    own: dict[str, Context] = {
        "instance": {"ec2:InstanceType": str(request.get("InstanceType", ""))},
        "launch-template": _template_tags(region, template),
    }
    found = []
    for kind, name in _touched(request, template):
        tags = _asked_tags(request, kind) if name == "*" else {}
        account = "" if kind == "image" else ACCOUNT
        resource = f"arn:aws:ec2:{region}:{account}:{kind}/{name}"
        context = _with_tags({**by_template, **own.get(kind, {})}, tags)
        found.append(Need(action="ec2:RunInstances", resource=resource, context=context))
        if tags:
            found += [_tagging(resource, tags, action) for action in sorted({"RunInstances", by})]
    role = profiles.role_arn(request)
    if role:
        found.append(Need(action="iam:PassRole", resource=role, context={"iam:PassedToService": EC2}))
    return found


def _touched(request: Request, template: str) -> Iterator[tuple[str, str]]:
    """Each kind of resource that a launch makes (`*`: it has no id yet) or uses, with its id."""
    yield "instance", "*"
    yield "volume", "*"
    yield "network-interface", "*"
    yield "image", str(request.get("ImageId", ""))
    nics = request.get("NetworkInterfaces", [])
    yield "subnet", str(request.get("SubnetId") or next((nic.get("SubnetId", "") for nic in nics), ""))
    for group in request.get("SecurityGroupIds", []):
        yield "security-group", str(group)
    if request.get("KeyName"):
        yield "key-pair", str(request["KeyName"])
    if template:
        yield "launch-template", template


def _asked_tags(request: Request, kind: str) -> dict[str, str]:
    """Tags that are to be put on what is made; those that EC2 adds itself take no permission."""
    return {
        str(tag["Key"]): str(tag.get("Value", ""))
        for spec in request.get("TagSpecifications", [])
        if spec.get("ResourceType") == kind
        for tag in spec.get("Tags", [])
        if not str(tag["Key"]).startswith("aws:")
    }


def _with_tags(context: Context, tags: Mapping[str, str]) -> dict[str, str | tuple[str, ...]]:
    asked = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    return {**context, **asked, **({"aws:TagKeys": tuple(tags)} if tags else {})}


def _tagging(resource: str, tags: Mapping[str, str], action: str) -> Need:
    return Need(action="ec2:CreateTags", resource=resource, context=_with_tags({"ec2:CreateAction": action}, tags))


def _tags_of(resource: Any) -> dict[str, str | tuple[str, ...]]:
    found = {str(tag["key"]): str(tag["value"]) for tag in resource.get_tags()}
    return {f"{service}:ResourceTag/{key}": value for service in ("aws", "ec2") for key, value in found.items()}


def _template_tags(region: str, template: str) -> dict[str, str | tuple[str, ...]]:
    found = ec2_backends[ACCOUNT][region].launch_templates.get(template)
    return _tags_of(found) if found is not None else {}


def _arn(region: str, kind: str, name: str) -> str:
    return f"arn:aws:ec2:{region}:{ACCOUNT}:{kind}/{name}"
