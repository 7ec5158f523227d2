"""How ssh finds the sandbox's hosts: their public addresses lead nowhere, their ports are on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from launcher.sandbox.cloud.guest import Guest

_HEAD = "# Written by the gpurun sandbox: where its machines' addresses, as EC2 shows them, really answer.\n"


def write_ssh_config(path: Path, guests: Iterable[Guest]) -> None:
    """Write the blocks of all hosts that are up, atomically.

    A host's key is looked up under its address, not under 127.0.0.1 and a port that the next host will have.
    """
    text = _HEAD + "".join(_block(guest) for guest in guests)
    partial = path.with_name(path.name + ".new")
    partial.write_text(text)
    partial.replace(path)


def _block(guest: Guest) -> str:
    host, address = guest.host, guest.instance.public_ip or guest.instance.private_ip
    if host is None or address is None:
        return ""
    names = f"{address} {guest.id}"
    return f"\nHost {names}\n    HostName 127.0.0.1\n    Port {host.ssh_port}\n    HostKeyAlias {address}\n"
