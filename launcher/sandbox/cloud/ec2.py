"""EC2's answers where moto lacks them, or is kinder or slower than EC2."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response

from launcher.sandbox.cloud import (
    baking,
    catalogue,
    ec2_needs,
    fleet,
    images,
    network,
    offers,
    security_groups,
    templates,
)
from launcher.sandbox.cloud.launch import denial, launch, objection, place, refuse, template_version, with_template
from launcher.sandbox.cloud.pricing import region_names
from launcher.sandbox.cloud.settings import OPT_IN_REGIONS
from launcher.sandbox.cloud.wire import Answer, Environ
from launcher.sandbox.cloud.world import ENVIRON_KEY, World

_HIGH_CAPACITY_SCORE = 9


class SandboxEc2(EC2Response):  # type: ignore[misc] # moto comes without types
    """moto's EC2 with the sandbox's own operations over it; one object a request."""

    region: str
    params: dict[str, Any]

    @property
    def world(self) -> World:
        """The sandbox that this request came to."""
        world: World = self.environ[ENVIRON_KEY]
        return world

    @property
    def environ(self) -> Environ:
        """The request as it came."""
        environ: Environ = self.normalized_request.environ
        return environ

    @property
    def ec2_backend(self) -> Any:
        """The region's state, its default VPC open to the internet."""
        backend = super().ec2_backend
        if self.region not in self.world.opened:
            self.world.opened.add(self.region)
            network.open_default_vpc(backend)
            images.name_owners(backend)
        return backend

    def run_instances(self) -> ActionResult:
        """Launch with the template's data under the request's; MaxCount is what is there is to have."""
        request = place(self, with_template(self, dict(self.params)))
        count, spec = int(self.params.get("MaxCount", 1)), self.params.get("LaunchTemplate")
        template = template_version(self, spec).template.id if spec else ""
        no = denial(self, ec2_needs.of_launch(self.region, request, template)) or objection(self, request, count)
        if no is not None:
            raise refuse(no)
        self.error_on_dryrun()
        return ActionResult(launch(self, request, count, self.params.get("ClientToken", "")))

    def create_fleet(self) -> ActionResult:
        """Rewritten over RunInstances; see `fleet`."""
        return ActionResult(fleet.create(self))

    def terminate_instances(self) -> ActionResult:
        """Answers with the states as they are: a terminated instance stays so."""
        self.error_on_dryrun()
        pairs = self.ec2_backend.terminate_instances(self.params.get("InstanceIds", []))
        rows = [
            {
                "InstanceId": instance.id,
                "CurrentState": {"Code": instance.state_code, "Name": instance.state},
                "PreviousState": {"Code": before.code, "Name": before.name},
            }
            for instance, before in pairs
        ]
        return ActionResult({"TerminatingInstances": rows})

    def modify_instance_attribute(self) -> Any:
        """As moto's; security groups change on the interface too, in place of the old ones, and not while pending."""
        groups = self.params.get("Groups")
        if not groups:
            return super().modify_instance_attribute()
        instance = self.ec2_backend.get_instance(self.params["InstanceId"])
        if instance.state not in {"running", "stopped"}:
            raise EC2ClientError("IncorrectInstanceState", f"Instance {instance.id} is {instance.state}")
        answer = super().modify_instance_attribute()
        self.ec2_backend.modify_network_interface_attribute(instance.nics[0].id, groups)
        return answer

    def create_image(self) -> ActionResult:
        """Of the instance's disk as it is, tags and encryption to its snapshot too; the instance restarts for it."""
        self.error_on_dryrun()
        backend, params = self.ec2_backend, self.params
        instance = backend.get_instance(params["InstanceId"])
        if instance.state not in {"running", "stopped"}:
            raise EC2ClientError("IncorrectInstanceState", f"Instance {instance.id} is {instance.state}")
        baking.check_name(backend, params["Name"])
        baking.check_disk(self.world, instance)
        image = backend.create_image(instance.id, params["Name"], params.get("Description", ""), [])
        encrypted, key = baking.root_encryption(instance)
        image.root_size_gib = baking.root_size_gib(instance)
        pending_s = self.world.settings.image_pending_s
        baking.begin(image, baking.tags_of(params), encrypted=encrypted, key=key, pending_s=pending_s)
        baking.save(self.world, image, instance, restart=instance.state == "running" and _restarts(params))
        return ActionResult({"ImageId": image.id})

    def copy_image(self) -> ActionResult:
        """Without the source's tags, with the request's."""
        self.error_on_dryrun()
        backend, params = self.ec2_backend, self.params
        baking.check_name(backend, params["Name"])
        image = backend.copy_image(params["SourceImageId"], params["SourceRegion"], params["Name"], None)
        encrypted = params.get("Encrypted") in {True, "true"} or params.get("KmsKeyId") is not None
        source = ec2_backends[backend.account_id][params["SourceRegion"]].amis[params["SourceImageId"]]
        image.root_size_gib = getattr(source, "root_size_gib", None)
        key = params.get("KmsKeyId") or (baking.own_key(backend) if encrypted else None)
        pending_s = self.world.settings.image_pending_s
        baking.begin(image, baking.tags_of(params), encrypted=encrypted, key=key, pending_s=pending_s)
        baking.save_copy(self.world, image, source)
        return ActionResult({"ImageId": image.id})

    def describe_images(self) -> Any:
        """As moto's, with those that have become ready."""
        baking.settle(self.ec2_backend)
        return super().describe_images()

    def delete_snapshot(self) -> Any:
        """As moto's, and what lay on it goes."""
        answer = super().delete_snapshot()
        self.world.machines.contents.remove(self.params["SnapshotId"])
        return answer

    def delete_security_group(self) -> ActionResult:
        """Refused while anything still uses the group."""
        name = self.params.get("GroupId") or self.params.get("GroupName")
        group = self.ec2_backend.get_security_group_by_name_or_id(name) if name else None
        if group is not None and security_groups.user_of(self.ec2_backend, group.id) is not None:
            raise EC2ClientError("DependencyViolation", f"resource {group.id} has a dependent object")
        return super().delete_security_group()

    def create_launch_template(self) -> ActionResult:
        """As moto's; the template's own tags are no part of what it launches."""
        answer: ActionResult = super().create_launch_template()
        templates.forget_own_tags(
            templates.find(self.ec2_backend, {"LaunchTemplateName": self.params["LaunchTemplateName"]})
        )
        return answer

    def create_launch_template_version(self) -> ActionResult:
        """The next, of another or of nothing."""
        self.error_on_dryrun()
        return ActionResult(templates.add_version(self.ec2_backend, self.params))

    def modify_launch_template(self) -> ActionResult:
        """Another version is the default one."""
        self.error_on_dryrun()
        return ActionResult(templates.make_default(self.ec2_backend, self.params))

    def delete_launch_template(self) -> Any:
        """One that is not there is not found."""
        templates.find(self.ec2_backend, self.params)
        return super().delete_launch_template()

    def delete_launch_template_versions(self) -> ActionResult:
        """All of those that are named, but for the default one."""
        self.error_on_dryrun()
        return ActionResult(templates.remove_versions(self.ec2_backend, self.params))

    def describe_launch_templates(self) -> ActionResult:
        """A page at a time; one that is named and not there is not found."""
        self.error_on_dryrun()
        return ActionResult(templates.listed(self.ec2_backend, self.params, self._filters_from_querystring()))

    def describe_launch_template_versions(self) -> ActionResult:
        """A page at a time, the latest first."""
        self.error_on_dryrun()
        return ActionResult(templates.listed_versions(self.ec2_backend, self.params))

    def get_console_output(self) -> ActionResult:
        """What the host's console printed."""
        instance = self.ec2_backend.get_instance(self.params["InstanceId"])
        text = self.world.machines.get(instance.id).console()
        result = {
            "InstanceId": instance.id,
            "Output": b64encode(text).decode(),
            "Timestamp": datetime.now(UTC),
        }
        return ActionResult(result)

    def describe_regions(self) -> ActionResult:
        """Opt-in regions show as such, and only on request."""
        self.error_on_dryrun()
        regions = self.ec2_backend.describe_regions(self.params.get("RegionNames", []))
        enabled = self.world.settings.enabled_regions
        rows = [
            {"RegionName": each.name, "Endpoint": each.endpoint, "OptInStatus": _opt_in(each.name, enabled)}
            for each in regions
            if each.name in region_names() and catalogue.offered(each.name)  # the others moto itself refuses
        ]
        if not self.params.get("AllRegions"):
            rows = [row for row in rows if row["OptInStatus"] != "not-opted-in"]
        return ActionResult({"Regions": rows})

    def describe_instance_types(self) -> Any:
        """From the catalogue, a page of a hundred at a time, as EC2 gives them."""
        names = self.params.get("InstanceTypes", [])
        return _sent(offers.instance_types(self.region, names, self._filters_from_querystring(), self.params))

    def describe_instance_type_offerings(self) -> Any:
        """With wildcards in the filter's values."""
        location = self.params.get("LocationType", "region")
        return _sent(offers.offerings(self.region, location, self._filters_from_querystring(), self.params))

    def describe_spot_price_history(self) -> Any:
        """Prices that a market could have."""
        return _sent(offers.spot_prices(self.region, self._filters_from_querystring(), self.params))

    def get_spot_placement_scores(self) -> ActionResult:
        """High everywhere: the sandbox's capacity is boundless until a fault says otherwise."""
        wanted = self.params.get("RegionNames") or [self.region]
        kinds = self.params.get("InstanceTypes", [])
        good = [name for name in wanted if all(kind in catalogue.offered(name) for kind in kinds)]
        rows = [{"Region": name, "Score": _HIGH_CAPACITY_SCORE} for name in good]
        return ActionResult({"SpotPlacementScores": rows})


def _restarts(params: dict[str, Any]) -> bool:
    return params.get("NoReboot") not in {True, "true"}


def _opt_in(region: str, enabled: tuple[str, ...]) -> str:
    if region not in OPT_IN_REGIONS:
        return "opt-in-not-required"
    return "opted-in" if region in enabled else "not-opted-in"


def _sent(answer: Answer) -> tuple[int, dict[str, str], str]:
    """A written answer in the form in which moto passes it on."""
    return answer.status, {"Content-Type": answer.content_type}, answer.body.decode()
