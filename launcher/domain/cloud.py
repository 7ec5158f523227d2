"""Where machines come from, and how they are bought."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Market(StrEnum):
    """How a machine is bought."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    YOURS = "yours"
    """Not at all: it is the user's own."""


AWS = "aws"
"""Where a run's machines come from, unless it says otherwise."""
LOCAL = "local"
"""The machine that gpurun itself runs on."""


class SpotPolicy(StrEnum):
    """Which markets a spec allows: spot alone, on-demand alone, or spot with on-demand behind it."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"
    PREFER_SPOT = "prefer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Which cloud to speak to, and how: data alone, so that AWS, moto and the sandbox differ in nothing else.

    `None` means what boto3 and OpenSSH would do by themselves.
    """

    profile: str | None = None
    region: str | None = None
    config_file: Path | None = None
    credentials_file: Path | None = None
    ssh_config_file: Path | None = None
