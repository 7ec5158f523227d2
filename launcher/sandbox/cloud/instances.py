"""moto's instance, corrected where it is kinder than EC2: it takes time to come and to go."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState, StateReason

from launcher.sandbox.cloud import catalogue

if TYPE_CHECKING:
    from launcher.sandbox.cloud.identity import Identity
    from launcher.sandbox.cloud.lifecycle import Machines

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
USER = StateReason("Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown")


class HostedInstance(Instance):  # type: ignore[misc] # moto comes without types
    """An instance in a subnet, pending until its host is up."""

    machines: Machines | None = None
    identity: Identity | None = None
    """Its instance profile, where it was launched with one."""
    nics: dict[int, Any]
    security_groups: list[Any]
    _reason: str

    def __init__(self, ec2_backend: Any, *args: Any, **kwargs: Any) -> None:
        """As moto's; without a subnet it lands in a default one, as every instance has since EC2-Classic ended."""
        nics = kwargs.get("nics") or []
        if not kwargs.get("subnet_id") and not any("SubnetId" in nic for nic in nics):
            kwargs["subnet_id"] = default_subnet(ec2_backend, kwargs["instance_type"], kwargs.get("placement")).id
        super().__init__(ec2_backend, *args, **kwargs)
        self._keep_with_instance(nics)
        if not self.security_groups:
            self.security_groups = list(self.nics[0].group_set)
        self.set_state("pending")

    def _keep_with_instance(self, asked: list[dict[str, Any]]) -> None:
        """Interfaces made with the instance go with it, unless the caller says otherwise."""
        kept = {int(nic["DeviceIndex"]) for nic in asked if nic.get("DeleteOnTermination") is False}
        for index, nic in self.nics.items():
            nic.delete_on_termination = index not in kept

    def name_attachments(self) -> None:
        """Let DescribeVolumes say which volumes go with the instance."""
        for device in self.block_device_mapping.values():
            attachment = self.ec2_backend.volumes[device.volume_id].attachment
            attachment.delete_on_termination = device.delete_on_termination

    def set_state(self, name: str, reason: StateReason | None = None) -> None:
        """Put it in a state, with the reason that EC2 would show."""
        self._state = InstanceState(name, CODES[name])
        if reason is not None:
            self.state_reason = reason

    def start(self) -> InstanceState:
        """Begin to start a stopped instance."""
        before = copy.copy(self._state)
        if self.machines is not None and self.state == "stopped":
            super().start()
            self.set_state("pending")
            self.machines.starting(self)
        return before

    def stop(self) -> InstanceState:
        """Begin to stop it."""
        before = copy.copy(self._state)
        if self.machines is not None and self.state == "running":
            self.set_state("stopping", USER)
            self.machines.stopping(self)
        return before

    def finish_stop(self) -> None:
        """Its host is down."""
        reason = self.state_reason
        super().stop()
        self.state_reason = reason

    def reboot(self) -> None:
        """Restart its host; EC2 shows it as running throughout."""
        if self.machines is not None and self.state == "running":
            self.machines.rebooting(self)

    def terminate(self) -> InstanceState:
        """Begin to terminate it; harmless when done twice."""
        before = copy.copy(self._state)
        if self.machines is not None:
            self.machines.terminate(self, USER)
        return before

    def finish_terminate(self) -> None:
        """Its host is gone: give back volumes, interfaces and addresses; only a memory stays."""
        reason = self.state_reason
        super().terminate()
        self.state_reason = reason
        self._reason = f"{reason.code}" if reason.code != USER.code else self._reason
        self.nics = {}
        self.security_groups = []

    @property
    def iam_profile_arn(self) -> str:
        """Of its instance profile, for DescribeInstances to filter by."""
        return str(self.identity.profile.arn) if self.identity is not None else ""

    @property
    def private_ip(self) -> str | None:
        """Of the primary interface, while there is one."""
        return self.nics[0].private_ip_address if 0 in self.nics else None

    @property
    def private_ip_address(self) -> str | None:
        """The same."""
        return self.private_ip

    @property
    def public_ip(self) -> str | None:
        """Of the primary interface, while there is one."""
        return self.nics[0].public_ip if 0 in self.nics else None

    @property
    def public_ip_address(self) -> str | None:
        """The same."""
        return self.public_ip

    @property
    def private_dns_name(self) -> str:
        """Empty once the address is given back."""
        return str(super().private_dns_name) if self.private_ip else ""


def default_subnet(backend: Any, instance_type: str, zone: str | None) -> Any:
    """The default subnet of the zone, or of the first zone that has the type."""
    subnets = backend.get_default_subnets()
    zones = catalogue.zones_of(backend.region_name).get(instance_type, ())
    for name in [zone] if zone else [name for name in sorted(subnets) if name in zones]:
        if name in subnets:
            return subnets[name]
    if zone:
        raise EC2ClientError("InvalidInput", f"No default subnet for availability zone: '{zone}'.")
    return subnets[min(subnets)]
