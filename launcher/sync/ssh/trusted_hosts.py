"""The host keys that the user's own known_hosts files vouch for (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from launcher.domain import HostKey
from launcher.errors import HostKeyMismatch, SpecError
from launcher.sync.ssh.keys import host_key_of
from launcher.sync.ssh.ssh_config import Hop


def known_keys(hop: Hop) -> tuple[HostKey, ...]:
    """The keys recorded for a jump host, less those revoked; raises `HostKeyMismatch` where there is none.

    It is never learnt here: a first contact is for the user to judge.
    """
    trusted = recorded(hop).trusted
    if not trusted:
        raise HostKeyMismatch(
            f"the host key of the jump host {hop.name} ({hop.host} port {hop.port}) is in no known_hosts file",
            hint=f"ssh -p {hop.port} {hop.user}@{hop.host} true, and compare the fingerprint that it shows",
        )
    return trusted


class Recorded(NamedTuple):
    """What the files say of a host."""

    trusted: tuple[HostKey, ...]
    revoked: frozenset[HostKey]
    of_port: bool = True
    """Whether they speak of the very port; else of the host alone, where another server may answer (sshconnect.c)."""


def recorded(hop: Hop) -> Recorded:
    """The keys recorded for a host, those revoked apart; of another port only where there is none of its own."""
    names = _names(hop)
    found = {name: [entry for path in hop.known_hosts for entry in _entries(path, (name,))] for name in names}
    revoked = frozenset(key for entries in found.values() for marker, key in entries if marker == "@revoked")
    trusted: tuple[HostKey, ...] = ()
    for name in names:
        keys = dict.fromkeys(key for marker, key in found[name] if not marker)
        trusted = tuple(key for key in keys if key not in revoked)
        if keys:
            return Recorded(trusted, revoked, of_port=name == names[0])
    return Recorded(trusted, revoked)


def remember(hop: Hop, key: HostKey) -> Path | None:
    """Add a host's key to the user's first known_hosts file, as ssh does; gives the file, `None` where there is none.

    Raises `SpecError` for one that cannot be written.
    """
    if not hop.known_hosts:
        return None
    path = hop.known_hosts[0]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("r+b") as file:
            text = file.read()
            gap = "" if not text or text.endswith(b"\n") else "\n"
            file.write(f"{gap}{recorded_name(hop)} {key.algorithm} {key.base64}\n".encode())
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}", hint=f"ls -l {path}") from None
    return path


def recorded_name(hop: Hop) -> str:
    """What a host is called in known_hosts."""
    return _names(hop)[0]


def _names(hop: Hop) -> tuple[str, ...]:
    if hop.host_key_alias:
        return (hop.host_key_alias,)
    host = hop.host.lower()
    return (host,) if hop.port == 22 else (f"[{host}]:{hop.port}", host)


def _entries(path: Path, names: tuple[str, ...]) -> list[tuple[str, HostKey]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [entry for line in lines if (entry := _entry(line, names)) is not None]


def _entry(line: str, names: tuple[str, ...]) -> tuple[str, HostKey] | None:
    """Marker and key of a line that speaks of one of the names."""
    fields = line.split()
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#"):
        return None
    if not any(_matches(fields[0], name) for name in names):
        return None
    try:
        return marker, host_key_of(f"{fields[1]} {fields[2]}")
    except SpecError:
        return None


def _matches(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        return _hash_matches(patterns, name)
    wanted = patterns.lower().split(",")
    if any(pattern.startswith("!") and _glob(pattern[1:], name) for pattern in wanted):
        return False
    return any(_glob(pattern, name) for pattern in wanted if not pattern.startswith("!"))


def _glob(pattern: str, name: str) -> bool:
    """`*` and `?` alone are special in known_hosts; fnmatch's brackets are an address's."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        _, _, salt, digest = hashed.split("|")
        computed = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(computed, base64.b64decode(digest))
    except ValueError:
        return False
