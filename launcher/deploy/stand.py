"""Everything of a deployment, made in the account; done again it replaces what has changed, and nothing else.

The schedule comes last: until it stands nothing fires, and what a break leaves costs nothing and is found by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from launcher.aws import fleet, killswitch, recurring, roles
from launcher.aws import tags as tagging
from launcher.aws import template as templates
from launcher.aws.faults import code_of
from launcher.deploy import bundle, names, permits
from launcher.deploy.deployment import UNKNOWN, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.aws.client import Aws


def parts(wanted: Deployment) -> list[tuple[str, str, Any]]:
    """(kind, name, content) of all that is made, in the order of its making; nothing is asked of AWS."""
    whose, tags = wanted.whose, names.tags(wanted.name, wanted.schedule.store)
    machine, launch = names.machine_role(whose.name, whose.region), names.launch_role(whose.name, whose.region)
    uri = f"s3://{wanted.place.bucket}/{wanted.prefix}"
    found: list[tuple[str, str, Any]] = [
        ("S3 object", f"{uri}{pack.file_name}", {"bytes": pack.size_bytes, "sha256": pack.sha256})
        for pack in wanted.packs
    ]
    found += [
        ("IAM role", machine, {"trust": permits.machine_trust(), "permission": _of_machines(wanted), "tags": tags}),
        ("IAM instance profile", machine, {"role": machine, "tags": tags}),
        ("EC2 launch template", wanted.template, templates.template_data(wanted.request)),
        (
            "IAM role",
            launch,
            {"trust": permits.launch_trust(whose), "permission": _of_launches(wanted, UNKNOWN), "tags": tags},
        ),
        ("Scheduler group", names.group(whose.name), {"tags": tags}),
    ]
    found += [("Scheduler schedule", each.name, recurring.body(each)) for each in wanted.schedules(UNKNOWN)]
    return found


def stand(aws: Aws, wanted: Deployment, tell: Callable[[str], None], progress: Callable[[int], None]) -> None:
    """Make it, step by step, each of them told; raises `SpecError` where a name is taken, and what AWS answers."""
    aws = aws.at(wanted.whose.region)
    whose, tags = wanted.whose, names.tags(wanted.name, wanted.schedule.store)
    machine, launch = names.machine_role(whose.name, whose.region), names.launch_role(whose.name, whose.region)
    for pack in wanted.packs:
        sent = bundle.send(aws, wanted.place, wanted.prefix, pack, progress)
        tell(f"{pack.name}: {pack.size_bytes / 1e6:.1f} MB {'sent' if sent else 'are there'}")
    roles.put_role(aws, machine, trust=permits.machine_trust(), permission=_of_machines(wanted), tags=tags)
    roles.put_profile(aws, machine, tags=tags)
    tell(f"role and instance profile {machine}")
    template_id = _template(aws, wanted, tags)
    tell(f"launch template {wanted.template}")
    roles.put_role(
        aws, launch, trust=permits.launch_trust(whose), permission=_of_launches(wanted, template_id), tags=tags
    )
    tell(f"role {launch}")
    killswitch.prepare(aws)
    recurring.put_group(aws, names.group(whose.name), tags)
    for each in wanted.schedules(template_id):
        recurring.put(aws, each)
        tell(f"schedule {each.name}: {each.expression} in {each.zone}")
    _remove_what_was(aws, wanted)


def _of_machines(wanted: Deployment) -> dict[str, Any]:
    return permits.machine(
        wanted.whose, bucket=wanted.place.bucket, prefix=wanted.place.prefix, weights=wanted.weights, data=wanted.data
    )


def _of_launches(wanted: Deployment, template_id: str) -> dict[str, Any]:
    types = [offer.instance_type for offer in wanted.offers]
    return permits.launch(wanted.whose, template_id=template_id, image_id=wanted.image.image_id, instance_types=types)


def _template(aws: Aws, wanted: Deployment, tags: dict[str, str]) -> str:
    """The launch template's id; its content is in its name, so that one that is there already is the same one."""
    with aws.errors("make the launch template"):
        try:
            made = aws.ec2.create_launch_template(
                LaunchTemplateName=wanted.template,
                LaunchTemplateData=templates.template_data(wanted.request),
                TagSpecifications=[
                    {
                        "ResourceType": "launch-template",
                        "Tags": tagging.to_list({**tags, tagging.TAG_USES: wanted.image.image_id}),
                    }
                ],
            )
        except ClientError as error:
            if code_of(error) != "InvalidLaunchTemplateName.AlreadyExistsException":
                raise
            found = aws.ec2.describe_launch_templates(LaunchTemplateNames=[wanted.template])
            return found["LaunchTemplates"][0]["LaunchTemplateId"]
    return made["LaunchTemplate"]["LaunchTemplateId"]


def _remove_what_was(aws: Aws, wanted: Deployment) -> None:
    """Templates and schedules of an earlier deployment, and its archives once no machine may still read them."""
    kept = {each.name for each in wanted.schedules(UNKNOWN)}
    for there in recurring.found(aws, names.group(wanted.name)):
        if there["Name"].startswith("cron-") and there["Name"] not in kept:
            recurring.remove(aws, names.group(wanted.name), there["Name"])
    for template_id, name in template_ids(aws, wanted.name):
        if name != wanted.template:
            templates.delete_by_id(aws, template_id)
    if not any(not each.gone for each in fleet.find(aws, run_id=names.run_id(wanted.name))):
        bundle.remove_others(aws, wanted.place, wanted.prefix, wanted.packs)


def template_ids(aws: Aws, name: str) -> list[tuple[str, str]]:
    """(id, name) of a schedule's launch templates, found by tag."""
    with aws.errors("look for launch templates"):
        pages = aws.ec2.get_paginator("describe_launch_templates").paginate(
            Filters=[{"Name": f"tag:{tagging.TAG_SCHEDULE}", "Values": [name]}]
        )
        return [
            (each["LaunchTemplateId"], each["LaunchTemplateName"]) for page in pages for each in page["LaunchTemplates"]
        ]
