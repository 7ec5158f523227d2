"""A machine that is there, and the way to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from launcher.domain.cloud import Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A machine as EC2 describes it."""

    instance_id: str
    instance_type: str
    region: str
    zone: str
    market: Market
    state: str
    """pending, running, shutting-down, terminated, stopping or stopped."""
    public_address: str | None
    private_address: str | None
    launched_at: datetime | None
    state_reason: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        """Whether EC2 bills nothing for it any more."""
        return self.state == "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A public host key: its algorithm (`ssh-ed25519`) and the base64 text."""

    algorithm: str
    base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a run's machine answers SSH, and which host key it must show."""

    address: str
    user: str
    host_keys: tuple[HostKey, ...]
    port: int = 22
    key_file: Path | None = None
    config_file: Path | None = None
    proxy: str | None = None
