"""All that a deployment made, removed again, found by name and tag: the time first, so that nothing fires meanwhile.

What stays is what it trained: the weights with their history, and the folder of the schedule with its ticks and logs,
unless that is asked for too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from launcher.aws import fleet, killswitch, recurring, roles
from launcher.aws import template as templates
from launcher.aws.tags import TAG_SCHEDULE
from launcher.deploy import names
from launcher.deploy.deployment import folder_prefix
from launcher.deploy.lease import Desk
from launcher.deploy.stand import template_ids
from launcher.errors import ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

    from launcher.aws.client import Aws
    from launcher.aws.durable.place import Place

TERMINATE_TIMEOUT_S = 300.0
ARCHIVES = ("program-", "work-", "data-")
_PAGE = 1000


def machines(aws: Aws, name: str) -> list[str]:
    """The schedule's machines that are not gone."""
    return [each.instance_id for each in fleet.find(aws, run_id=names.run_id(name)) if not each.gone]


def require_ours(aws: Aws, name: str, store: str) -> None:
    """Raise `SpecError` where what has our names is another deployment's, or is none; nothing is touched then."""
    roles_there = {each: roles.tags_of(aws, each) for each in names.roles(name, aws.region)}
    groups_there = {names.group(name): recurring.group_tags(aws, names.group(name))}
    for kind, found in (("schedule group", groups_there), ("role", roles_there)):
        for there, tags in found.items():
            if tags is None or names.tags(name, store).items() <= tags.items():
                continue
            if tags.get(TAG_SCHEDULE) == name:
                _refuse_other(aws, name, store, tags.get(names.TAG_STORE, "?"))
            raise SpecError(
                f"the account has a {kind} {there} that is not this schedule's: {tags or 'it has no tags'}",
                hint="another name for the schedule; or remove that first",
            )


def _refuse_other(aws: Aws, name: str, store: str, other: str) -> NoReturn:
    raise SpecError(
        f"the schedule {name} that is deployed in {aws.region} keeps its weights in {other}, not in {store}",
        hint="another name for the schedule; or undeploy it from where it was deployed",
    )


def stands(aws: Aws, name: str) -> bool:
    """Whether anything of a deployment is there, but for what lies in S3."""
    if recurring.group_tags(aws, names.group(name)) is not None or template_ids(aws, name) or machines(aws, name):
        return True
    return any(roles.tags_of(aws, each) is not None for each in names.roles(name, aws.region))


def raze(aws: Aws, name: str, place: Place | None, *, everything: bool, tell: Callable[[str], None]) -> None:
    """Remove it all and see that it is gone; harmless where some or all of it is gone already.

    Without a place, since its bucket is gone, everything else.
    """
    recurring.remove_group(aws, names.group(name))
    tell("the schedule")
    _end_machines(aws, name, tell)
    killswitch.disarm(aws, run_id=names.run_id(name))
    for template_id, _ in template_ids(aws, name):
        templates.delete_by_id(aws, template_id)
    tell("the launch template")
    roles.remove_profile(aws, names.machine_role(name, aws.region))
    for role in names.roles(name, aws.region):
        roles.remove_role(aws, role)
    tell("the roles")
    _end_machines(aws, name, tell)  # one that was launched at the last moment shows late
    if place is not None:
        prefix = folder_prefix(place, name)
        _free(Desk(aws=aws, bucket=place.bucket, prefix=prefix))
        count = _empty(aws, place.bucket, prefix, everything=everything)
        tell(f"{count} objects below s3://{place.bucket}/{prefix}")


def _end_machines(aws: Aws, name: str, tell: Callable[[str], None]) -> None:
    standing = machines(aws, name)
    if standing:
        fleet.terminate(aws, standing)
        fleet.wait_terminated(aws, standing, timeout_s=TERMINATE_TIMEOUT_S)
        tell(f"{len(standing)} machine{'s' * (len(standing) > 1)}")


def _free(desk: Desk) -> None:
    """What a machine held that was ended in the middle, the next deployment must not wait for."""
    lease, given_back = desk.newest()
    if lease is not None and not given_back:
        desk.give_back(lease)


def _empty(aws: Aws, bucket: str, prefix: str, *, everything: bool) -> int:
    """Remove archives, or all of a folder; gives how many objects."""
    with aws.errors(f"empty s3://{bucket}/{prefix}"):
        pages = aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        doomed = [key for key in keys if everything or key.removeprefix(prefix).startswith(ARCHIVES)]
        for first in range(0, len(doomed), _PAGE):
            some: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in doomed[first : first + _PAGE]]
            # S3 answers well also where it keeps some: those stand in the answer.
            answer = aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
            if kept := answer.get("Errors"):
                raise ProvisionError(
                    f"{len(kept)} objects below s3://{bucket}/{prefix} were not removed: {kept[0].get('Message', '')}",
                    hint="gpurun doctor --print-iam --outputs writes the policy for it; then undeploy again",
                )
    return len(doomed)
