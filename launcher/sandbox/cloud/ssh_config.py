"""How ssh finds the sandbox's hosts: their public addresses lead nowhere, their ports are on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from launcher.sandbox.cloud.guest import Guest

_HEAD = "# Written by the gpurun sandbox; the hosts' addresses as EC2 shows them, and where they really answer.\n"


def write_ssh_config(path: Path, guests: Iterable[Guest]) -> None:
    """Write all of them at once, atomically."""
    text = _HEAD + "".join(_entry(guest) for guest in guests)
    partial = path.with_name(path.name + ".new")
    partial.write_text(text)
    os.replace(partial, path)


def _entry(guest: Guest) -> str:
    host, instance = guest.host, guest.instance
    if host is None:
        return ""
    address = instance.public_ip or instance.private_ip
    return f"\nHost {address}\n    HostName 127.0.0.1\n    Port {host.ssh_port}\n    HostKeyAlias {address}\n"
