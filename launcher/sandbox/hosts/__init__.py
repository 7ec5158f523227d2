"""Makes the sandbox's machines: real hosts on this laptop, in Linux namespaces where it can."""

from __future__ import annotations

from pathlib import Path

from launcher.sandbox.hosts.namespaces import NamespaceDriver
from launcher.sandbox.hosts.sweeping import sweep
from launcher.sandbox.machine import Driver

__all__ = ["choose", "sweep"]


def choose(kind: str, state: Path) -> Driver:
    """The driver for `kind`: `auto`, `namespaces` or `loopback`; raises `GpurunError` when it cannot be had."""
    return NamespaceDriver(state)
