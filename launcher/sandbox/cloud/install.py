"""Where moto is changed, all in one place; done once, in the daemon's own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.ec2 import urls, utils
from moto.ec2.models import EC2Backend, amis, elastic_ip_addresses, elastic_network_interfaces, instances
from moto.iam import urls as iam_urls

from launcher.sandbox.cloud import images, network
from launcher.sandbox.cloud.ec2 import SandboxEc2
from launcher.sandbox.cloud.iam import SandboxIam
from launcher.sandbox.cloud.instances import HostedInstance

_FILTERS = {
    "client-token": "client_token",
    "iam-instance-profile.arn": "iam_profile_arn",
    "instance-lifecycle": "lifecycle",
    "metadata-options.http-tokens": "metadata_options.http_tokens",
    "root-device-name": "root_device_name",
}


def install(launched: Callable[[Any], None]) -> None:
    """Put the sandbox's instances, images, addresses and operations in moto's place."""
    urls.url_paths["{0}/"] = SandboxEc2.dispatch
    iam_urls.url_paths["{0}/$"] = SandboxIam.dispatch
    utils.filter_dict_attribute_mapping.update(_FILTERS)
    instances.Instance = HostedInstance
    amis.Ami.block_device_mappings = property(_block_devices(images.root_size_gib))
    next_address = network.public_addresses()
    elastic_network_interfaces.random_public_ip = next_address
    elastic_ip_addresses.random_ip = next_address
    EC2Backend.run_instances = _hosted(EC2Backend.run_instances, launched)


def _hosted(run_instances: Callable[..., Any], launched: Callable[[Any], None]) -> Callable[..., Any]:
    """moto's launch, every instance of which is then told of: all of moto's ways to launch end there."""

    def run(*args: Any, **kwargs: Any) -> Any:
        reservation = run_instances(*args, **kwargs)
        for instance in reservation.instances:
            instance.name_attachments()
            launched(instance)
        return reservation

    return run


def _block_devices(root_size_gib: Callable[[str], int]) -> Callable[[Any], list[dict[str, Any]]]:
    def block_device_mappings(ami: Any) -> list[dict[str, Any]]:
        ebs = {
            "SnapshotId": ami.ebs_snapshot.id,
            "VolumeSize": getattr(ami, "root_size_gib", None) or root_size_gib(ami.id),
            "DeleteOnTermination": True,
            "VolumeType": "gp3",
            "Encrypted": bool(ami.ebs_snapshot.encrypted),
        }
        return [{"DeviceName": ami.root_device_name, "Ebs": ebs}]

    return block_device_mappings
