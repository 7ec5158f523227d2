"""One instance as the sandbox keeps it: moto's record of it, and the host behind it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.sandbox.cloud.settings import Settings
from launcher.sandbox.machine import Host

CONSOLE_BYTES = 64 * 1024


@dataclass(slots=True, kw_only=True, eq=False)
class Guest:
    """`lifting` is held while its host boots or goes, so that the two never overlap."""

    instance: Any
    user_data: bytes
    authorized_key: str | None
    mac: str
    birth: Settings
    """What held when it was launched: its delay, disk and clock stay so over reboots."""
    content: Path | None = None
    """What its image holds, until its disk has it."""
    lost: bool = False
    """Whether its image held something that is not there, so that it cannot boot."""
    lifting: threading.Lock = field(default_factory=threading.Lock)
    host: Host | None = None
    wanted: bool = True
    """Whether it may still boot; false from the first call to terminate on."""
    cut: bool = False
    dead: bool = False
    """Killed or crashed, while EC2 goes on showing it as running."""
    tokens: dict[str, float] = field(default_factory=dict)
    """Metadata tokens and when each ends, on the monotonic clock."""
    notice_at: float | None = None
    rebalance_at: float | None = None
    last_words: bytes = b""
    """The end of what its console printed, once its host is gone."""
    gone_at: float | None = None
    """When it was terminated, on the monotonic clock."""

    @property
    def id(self) -> str:
        """The instance's."""
        return str(self.instance.id)

    def console(self) -> bytes:
        """The end of what its console printed, also after it was terminated (as EC2 keeps it)."""
        host = self.host
        return host.console()[-CONSOLE_BYTES:] if host is not None else self.last_words

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        instance = self.instance
        return {
            "instance_id": instance.id,
            "instance_type": instance.instance_type,
            "region": instance.region_name,
            "zone": instance.availability_zone,
            "market": "spot" if instance.lifecycle == "spot" else "on-demand",
            "state": instance.state,
            "state_reason": instance.state_reason.code,
            "public_address": instance.public_ip,
            "private_address": instance.private_ip,
            "ssh_port": self.host.ssh_port if self.host else None,
            "host": _host_state(self),
            "notice_at": self.notice_at,
            "tags": {tag["key"]: tag["value"] for tag in instance.get_tags()},
        }


def _host_state(guest: Guest) -> str:
    if guest.host is None:
        return "none"
    if guest.dead:
        return "dead"
    return "cut off" if guest.cut else "up"
