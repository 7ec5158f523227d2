"""The launch template: everything about a machine but its type and place."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import tags as tagging
from launcher.aws.faults import code_of
from launcher.errors import BrokenRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from types_boto3_ec2.type_defs import RequestLaunchTemplateDataTypeDef

    from launcher.aws.client import Aws
    from launcher.domain import Image, Offer

MAX_USER_DATA_BYTES = 16384
"""Before base64 (EC2 User Guide, "Run commands when you launch an EC2 instance with user data input")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRequest:
    """One machine, wherever one of the offers has it."""

    run_id: str
    token: str
    """At most 64 ASCII characters; the same one never makes a second machine."""
    image: Image
    offers: Sequence[Offer]
    """All of one region and one market, best first."""
    subnets: Mapping[str, str]
    """Zone -> subnet."""
    group_id: str | None = None
    """`None`: the default group of the network, which lets nobody in from outside."""
    user_data: str
    disk_gib: int
    max_price_usd_per_hour: float | None = None
    tags: Mapping[str, str]
    template: str = ""
    """The launch template's name, where it is made already."""
    profile: str = ""
    """The instance profile whose role the machine has, and which is told its own tags then; empty: no role."""


def name_of(request: FleetRequest) -> str:
    """What the template is called: its content is in the name, so that one that is there already is the same one."""
    digest = hashlib.sha256(json.dumps(template_data(request), sort_keys=True).encode()).hexdigest()[:10]
    return f"gpurun-{request.run_id}-{digest}"


def create_template(aws: Aws, request: FleetRequest) -> str:
    """Make the run's launch template, whose name is returned; harmless when done twice."""
    data = template_data(request)
    name = name_of(request)
    with aws.errors("make the launch template"):
        try:
            aws.ec2.create_launch_template(
                LaunchTemplateName=name,
                LaunchTemplateData=data,
                TagSpecifications=[tagging.at_birth("launch-template", request.run_id, request.tags)],
            )
        except ClientError as error:
            if code_of(error) != "InvalidLaunchTemplateName.AlreadyExistsException":
                raise
    return name


def delete_template(aws: Aws, *, run_id: str) -> None:
    """Delete the run's launch templates, found by tag."""
    with aws.errors("delete the launch template"):
        found = aws.ec2.describe_launch_templates(Filters=[tagging.of_run(run_id)])
        for template in found["LaunchTemplates"]:
            delete_by_id(aws, template["LaunchTemplateId"])


def delete_by_name(aws: Aws, name: str) -> None:
    """Delete one launch template, if it is still there."""
    with aws.errors("delete the launch template"):
        try:
            aws.ec2.delete_launch_template(LaunchTemplateName=name)
        except ClientError as error:
            if "NotFound" not in code_of(error):
                raise


def delete_by_id(aws: Aws, template_id: str) -> None:
    """Delete one launch template, if it is still there."""
    with aws.errors("delete the launch template"):
        try:
            aws.ec2.delete_launch_template(LaunchTemplateId=template_id)
        except ClientError as error:
            if "NotFound" not in code_of(error):
                raise


def template_data(request: FleetRequest) -> RequestLaunchTemplateDataTypeDef:
    """The template's content; raises `BrokenRequest` when the user-data is over EC2's limit."""
    user_data = request.user_data.encode()
    if len(user_data) > MAX_USER_DATA_BYTES:
        raise BrokenRequest(f"user-data of {len(user_data)} bytes; EC2 takes {MAX_USER_DATA_BYTES}")
    data: RequestLaunchTemplateDataTypeDef = {
        "ImageId": request.image.image_id,
        "UserData": base64.b64encode(user_data).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        },
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": True,
                "DeleteOnTermination": True,
            }
        ],
        "BlockDeviceMappings": [
            {
                "DeviceName": request.image.root_device,
                "Ebs": {
                    "VolumeSize": max(request.disk_gib, request.image.root_size_gib),
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [
            tagging.at_birth("instance", request.run_id, request.tags),
            tagging.at_birth("volume", request.run_id, request.tags),
        ],
    }
    if request.group_id is not None:
        data["NetworkInterfaces"][0]["Groups"] = [request.group_id]
    if request.profile:
        data["IamInstanceProfile"] = {"Name": request.profile}
        data["MetadataOptions"]["InstanceMetadataTags"] = "enabled"
    return data
