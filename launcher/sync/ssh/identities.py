"""Which keys to offer to a host, in which order: files first, then the agent's, those with a passphrase last."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import SpecError
from launcher.sync.ssh import key_formats
from launcher.sync.ssh.agent_keys import agent
from launcher.sync.ssh.keys import can_ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.sync.ssh.lean import paramiko
    from launcher.sync.ssh.ssh_config import Hop

MAX_OFFERS = 5
"""sshd hangs up after six failures (sshd_config(5), MaxAuthTries)."""
PASSPHRASE_TRIES = 3

Unlocked = dict[Path, "paramiko.PKey"]
"""Keys whose passphrase was given, so that a reconnect does not ask again; in memory alone."""


@contextmanager
def offered(hop: Hop, unlocked: Unlocked) -> Iterator[list[paramiko.PKey]]:
    """The keys to try at a hop; the agent's sign only inside the block.

    Raises `SpecError` where a key that was named cannot be used.
    """
    with agent(hop.identity_agent) as held:
        by_blob = {key.get_base64(): key for key in held}
        found: list[paramiko.PKey] = []
        locked: list[Path] = []
        for path in hop.identity_files:
            key = _from_file(path, by_blob, unlocked, strict=hop.identities_only)
            if isinstance(key, Path):
                locked.append(key)
            elif key is not None:
                found.append(key)
        if not hop.identities_only:
            blobs = {key.get_base64() for key in found}
            found += [key for blob, key in by_blob.items() if blob not in blobs]
        if not found:
            found += [_unlock(path, unlocked) for path in locked]
        yield found[:MAX_OFFERS]


def _from_file(
    path: Path, held: dict[str, paramiko.AgentKey], unlocked: Unlocked, *, strict: bool
) -> paramiko.PKey | Path | None:
    """The key, the path itself where a passphrase is wanted, or `None` where the file is of no use."""
    try:
        parsed = key_formats.parse(path, path.read_bytes())
        if parsed.public_line is not None and parsed.public_line.split()[1] in held:
            return held[parsed.public_line.split()[1]]
        if parsed.encrypted:
            return unlocked.get(path, path)
        return key_formats.load(path)
    except OSError as error:
        if strict:
            raise SpecError(f"the key {path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    except SpecError:
        if strict:
            raise
    return None


def _unlock(path: Path, unlocked: Unlocked) -> paramiko.PKey:
    if not can_ask():
        raise SpecError(
            f"the key {path} has a passphrase, no ssh-agent holds it and there is no terminal to ask on",
            hint=f"ssh-add {path}",
        )
    for _ in range(PASSPHRASE_TRIES):
        try:
            unlocked[path] = key_formats.load(path, getpass.getpass(f"Passphrase for {path}: "))
            return unlocked[path]
        except key_formats.WrongPassphrase:
            continue
    raise SpecError(f"the passphrase of the key {path} was wrong {PASSPHRASE_TRIES} times", hint=f"ssh-add {path}")
