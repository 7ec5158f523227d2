"""Makes the sandbox's machines: real hosts on this laptop, in Linux namespaces where it can."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import GpurunError
from launcher.sandbox.hosts.loopback import LoopbackDriver
from launcher.sandbox.hosts.namespaces import NamespaceDriver
from launcher.sandbox.hosts.sweeping import sweep
from launcher.sandbox.machine import Driver

__all__ = ["choose", "sweep"]


def choose(kind: str, state: Path) -> Driver:
    """The driver for `kind`; raises `GpurunError` when this laptop does not let it be.

    `namespaces`: hosts with users, files, processes and network of their own, as root or in unprivileged user
    namespaces; a job sees of the laptop only its system folders and the Python environment, read-only.
    `loopback`: a pure-Python SSH server and ordinary processes of the user; nothing is hidden from a job.
    `auto`: namespaces where a trial host comes up, else loopback.
    """
    if kind == "loopback":
        return LoopbackDriver(state)
    if kind == "namespaces":
        return NamespaceDriver(state)
    if kind != "auto":
        raise GpurunError(f"no such kind of hosts: {kind!r}", hint="one of auto, namespaces, loopback")
    try:
        return NamespaceDriver(state)
    except GpurunError as error:
        return LoopbackDriver(state, because=error.message)
