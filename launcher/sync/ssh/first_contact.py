"""A host that no known_hosts file speaks of: its key is shown to the user, who judges it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.domain import Endpoint, HostKey
from launcher.errors import HostKeyMismatch
from launcher.sync.ssh.connection import shown_key
from launcher.sync.ssh.keys import fingerprint
from launcher.sync.ssh.ssh_config import Hop, resolve
from launcher.sync.ssh.trusted_hosts import recorded, remember


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How a host key that is new to this laptop is judged."""

    accept: str = ""
    """A fingerprint, `SHA256:...`, that the user vouches for."""
    ask: Callable[[str], bool] | None = None
    """Asks the user a question; `None` where nobody is there to answer."""


def trusted_keys(endpoint: Endpoint, trust: Trust, *, timeout_s: float) -> tuple[HostKey, ...]:
    """The keys that the endpoint's host may show: those in the user's known_hosts, else what he accepts now.

    What he accepts is remembered there. Raises `HostKeyMismatch` where he does not, or nobody can be asked, and
    `HostUnreachable`.
    """
    target = resolve(endpoint).target
    known = recorded(target)
    if known.trusted and known.of_port:
        return known.trusted
    key = shown_key(endpoint, timeout_s=timeout_s)
    if key in known.trusted:
        return (key,)
    if key in known.revoked or not _accepted(target, key, trust):
        raise _refused(target, key, revoked=key in known.revoked)
    remember(target, key)
    return (key,)


def _accepted(target: Hop, key: HostKey, trust: Trust) -> bool:
    shown = fingerprint(key)
    if trust.accept:
        if trust.accept.rstrip("=") == shown:
            return True
        raise HostKeyMismatch(
            f"{_named(target)} shows {key.algorithm} {shown}, not {trust.accept}; nothing was sent to it",
            hint="look at the fingerprint on the machine itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    where = f" and remember it in {target.known_hosts[0]}" if target.known_hosts else ""
    question = f"{_named(target)} is not known here. It shows {key.algorithm} {shown}. Trust it{where}?"
    return trust.ask is not None and trust.ask(question)


def _refused(target: Hop, key: HostKey, *, revoked: bool) -> HostKeyMismatch:
    shown = f"{key.algorithm} {fingerprint(key)}"
    if revoked:
        return HostKeyMismatch(f"{_named(target)} shows {shown}, which is revoked in known_hosts")
    return HostKeyMismatch(
        f"the host key of {_named(target)} is in no known_hosts file, and was not accepted; it shows {shown}",
        hint=f"compare it with the machine's own, then add --accept-host-key {fingerprint(key)}",
    )


def _named(target: Hop) -> str:
    return f"{target.name} ({target.host} port {target.port})"
