"""One launch, as RunInstances and CreateFleet both make it: a whole request, checked, then done by moto."""

from __future__ import annotations

import copy
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.instances import InstanceResponse

from launcher.sandbox.cloud import authority, catalogue, identity, images, profiles, quotas, templates
from launcher.sandbox.cloud.errors import Refusal, refusal
from launcher.sandbox.cloud.instances import default_subnet
from launcher.sandbox.cloud.policies import Need

if TYPE_CHECKING:
    from launcher.sandbox.cloud.ec2 import SandboxEc2

Request = dict[str, Any]
_USER_DATA_BYTES = 16_384


def refuse(no: Refusal) -> EC2ClientError:
    """The exception that moto turns into an answer."""
    return EC2ClientError(no.code, no.message)


def with_template(ec2: SandboxEc2, request: Request) -> Request:
    """The request with its launch template's data under it, and the tags that EC2 adds.

    AWS says that a request's parameters override the template's, and not whether tags are merged: here the template's
    of a resource type count for nothing where the request has its own of that type.
    """
    spec = request.get("LaunchTemplate")
    if not spec:
        return request
    version = template_version(ec2, spec)
    data = {key: value for key, value in version.data.items() if value is not None}
    merged = copy.deepcopy({**data, **{k: v for k, v in request.items() if k != "LaunchTemplate"}})
    mark = [
        {"Key": "aws:ec2launchtemplate:id", "Value": version.template.id},
        {"Key": "aws:ec2launchtemplate:version", "Value": str(version.number)},
    ]
    own = request.get("TagSpecifications", [])
    tagged = {each["ResourceType"] for each in own}
    merged["TagSpecifications"] = [
        *own,
        *(each for each in data.get("TagSpecifications", []) if each["ResourceType"] not in tagged),
        {"ResourceType": "instance", "Tags": mark},
    ]
    return merged


def template_version(ec2: SandboxEc2, spec: Request) -> Any:
    """The version of a launch template that a request names; raises EC2's error where there is none."""
    return templates.version(templates.find(ec2.ec2_backend, spec), str(spec.get("Version") or "$Default"))


def is_spot(request: Request) -> bool:
    """Whether it asks for a spot instance."""
    return bool(request.get("InstanceMarketOptions", {}).get("MarketType") == "spot")


def place(ec2: SandboxEc2, request: Request) -> Request:
    """The request with the subnet that it will use named, in the interface if it has one, else beside it."""
    nics = copy.deepcopy(request.get("NetworkInterfaces", []))
    subnet = request.get("SubnetId") or next((nic["SubnetId"] for nic in nics if nic.get("SubnetId")), None)
    zone = request.get("Placement", {}).get("AvailabilityZone")
    if subnet is None:
        subnet = default_subnet(ec2.ec2_backend, request.get("InstanceType", "m1.small"), zone).id
    if not nics:
        return {**request, "SubnetId": subnet}
    nics[0]["SubnetId"] = subnet
    groups = nics[0].pop("Groups", None) or request.get("SecurityGroupIds", [])
    rest = {key: value for key, value in request.items() if key != "SubnetId"}
    return {**rest, "NetworkInterfaces": nics, "SecurityGroupIds": groups}


def zone_of(ec2: SandboxEc2, request: Request) -> str:
    """The zone of a placed request."""
    subnet = request.get("SubnetId") or request["NetworkInterfaces"][0]["SubnetId"]
    return str(ec2.ec2_backend.get_subnet(subnet).availability_zone)


def objection(ec2: SandboxEc2, request: Request, count: int) -> Refusal | None:
    """Why EC2 would not launch a placed request: the type, the zone, the price or the quota."""
    kind, zone = request.get("InstanceType", "m1.small"), zone_of(ec2, request)
    if len(b64decode(str(request.get("UserData") or ""))) > _USER_DATA_BYTES:
        return refusal("InvalidParameterValue", message=f"User data is limited to {_USER_DATA_BYTES} bytes")
    if not catalogue.known(kind):
        return refusal("InvalidParameterValue", message=f"Invalid value '{kind}' for InstanceType.")
    if zone not in catalogue.zones_of(ec2.region).get(kind, ()):
        return refusal("Unsupported", instance_type=kind, zone=zone)
    too_low = _price_objection(request, kind, ec2.region, zone) if is_spot(request) else None
    world = ec2.world
    return (
        too_low
        or profiles.objection(request)
        or quotas.exceeded(world.settings, ec2.ec2_backend, kind, count, spot=is_spot(request))
    )


def denial(ec2: SandboxEc2, needs: list[Need]) -> Refusal | None:
    """What EC2 tells one who acts under a role that does not permit this."""
    words = authority.objection(ec2.world, ec2.environ, needs)
    if not words:
        return None
    return refusal("UnauthorizedOperation", message=f"You are not authorized to perform this operation. {words}")


def _price_objection(request: Request, kind: str, region: str, zone: str) -> Refusal | None:
    asked = request["InstanceMarketOptions"].get("SpotOptions", {}).get("MaxPrice")
    price = catalogue.spot_usd_per_hour(kind, region, zone)
    if asked is None or float(asked) >= price:
        return None
    return refusal("SpotMaxPriceTooLow", max_price=asked, spot_price=f"{price:.6f}")


def launch(ec2: SandboxEc2, request: Request, count: int, client_token: str) -> Any:
    """Launch a placed request `count` times; moto's reservation."""
    twin = copy.copy(ec2)
    twin.params = {
        **_completed(ec2, request),
        "MinCount": count,
        "MaxCount": count,
        "ClientToken": client_token,
        "DryRun": False,
    }
    made = InstanceResponse.run_instances(twin).result
    identity.give(ec2.world, made.instances, profiles.find(request))
    return made


def _completed(ec2: SandboxEc2, request: Request) -> Request:
    """With what EC2 fills in: the image's root volume, and tags of the kinds that a launch makes."""
    found = ec2.ec2_backend.describe_images(ami_ids=[request["ImageId"]]) if request.get("ImageId") else []
    if not found:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter ImageId")
    if found[0].state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{found[0].id}' is no longer available")
    done = {**request, "BlockDeviceMappings": _devices(request.get("BlockDeviceMappings", []), found[0])}
    if "UserData" in done:
        done["UserData"] = str(done["UserData"])
    tags = [each for each in request.get("TagSpecifications", []) if each["ResourceType"] != "launch-template"]
    done["TagSpecifications"] = tags
    return done


def _devices(asked: list[Request], image: Any) -> list[Request]:
    devices = copy.deepcopy(asked)
    root = next((each for each in devices if each.get("DeviceName") == image.root_device_name), None)
    if root is None:
        root = {"DeviceName": image.root_device_name, "Ebs": {}}
        devices.insert(0, root)
    ebs = root.setdefault("Ebs", {})
    ebs.setdefault("VolumeSize", images.root_size_gib(image.id))
    ebs.setdefault("DeleteOnTermination", True)
    ebs.setdefault("VolumeType", "gp3")
    return devices
