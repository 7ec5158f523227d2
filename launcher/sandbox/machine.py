"""What the control plane and the host drivers say to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Ending(StrEnum):
    """Why a host's first process ended."""

    POWER_OFF = "power-off"
    """The guest shut itself down."""
    REBOOT = "reboot"
    DIED = "died"
    """Killed from outside, or crashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataAnswer:
    """What the instance metadata service answers."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All that a driver must know to boot one instance."""

    instance_id: str
    hostname: str
    private_address: str
    public_address: str
    user_data: bytes
    """As the caller sent it, decoded."""
    authorized_key: str | None
    """The EC2 key pair's public line, which cloud-init gives to the default user."""
    boot_delay_s: float
    folder: Path
    """The instance's own, made by the driver, gone after `release`."""
    cloud_port: int
    """127.0.0.1:cloud_port is the control plane, inside the host as outside."""
    content: Path | None = None
    """What its disk begins with at its first boot: its image's; `None`: nothing but this laptop's programs."""
    disk_bytes: int = 0
    """How large its disk is, which then lies in memory; 0: as large as this laptop's, where the folder lies."""
    clock_ahead_s: float = 0.0
    """By how much its clock is wrong."""
    metadata: Callable[[str, str, dict[str, str]], MetadataAnswer]
    """(method, path, lower-case headers) -> what 169.254.169.254 answers."""
    admits: Callable[[str, int], bool]
    """(peer address, port) -> whether the instance's security groups let it in; asked at each connection."""
    ended: Callable[[Ending], None]
    """Called once, from any thread, when the host is no longer up without `release` or `kill` having been called."""


class Host(Protocol):
    """One booted machine."""

    @property
    def ssh_port(self) -> int:
        """The port on the laptop's 127.0.0.1 behind which the host's port 22 lies."""

    def kill(self) -> None:
        """Sudden death: every process of it is gone when this returns; the folder stays."""

    def release(self) -> None:
        """Wholly gone: processes, mounts, sockets and the folder."""

    def partition(self, *, cut: bool) -> None:
        """Cut or heal its network: while cut, bytes stall both ways and nothing is reset."""

    def strand(self) -> None:
        """Leave the laptop's present connections in the air, as when its address changes; new ones go through."""

    def fill(self, leave_bytes: int | None) -> None:
        """Leave that much room on its disk, or all of it again (`None`); raises `GpurunError` where it cannot."""

    def check_disk(self) -> None:
        """Raise `GpurunError` where its disk cannot be saved, with the reason."""

    def save_disk(self, place: Path) -> None:
        """Put all that its disk holds into a new folder; raises `GpurunError`. Whole only while it is down."""

    def console(self) -> bytes:
        """What its console printed so far."""


class Driver(Protocol):
    """A way to make hosts on this machine."""

    @property
    def kind(self) -> str:
        """`namespaces` or `loopback`."""

    @property
    def warning(self) -> str:
        """What a user should know of such hosts; empty where they are wholly apart from this machine."""

    def boot(self, machine: Machine) -> Host:
        """Start a host; returns when its ssh_port is known, which may be before sshd listens.

        Raises `GpurunError` when it cannot.
        """

    def close(self) -> None:
        """Release every host and all that the driver holds."""
