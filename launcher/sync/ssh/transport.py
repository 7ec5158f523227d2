"""An authenticated SSH transport over a byte stream: negotiation, the host key's check, then the user's key."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from launcher.domain import HostKey
from launcher.errors import HostKeyMismatch, HostUnreachable, SpecError
from launcher.sync.ssh.dial import NotYet
from launcher.sync.ssh.identities import Unlocked, offered
from launcher.sync.ssh.inbox import Inbox
from launcher.sync.ssh.keys import fingerprint
from launcher.sync.ssh.lean import paramiko
from launcher.sync.ssh.packets import Burst, Packets
from launcher.sync.ssh.ssh_config import Hop
from launcher.sync.ssh.watch import Watch, hang_up

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
"""AES-GCM first: half the time of AES-CTR with a MAC of its own; paramiko's own order has it last."""
DIGESTS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
WINDOW_BYTES = 4 << 20
"""paramiko's receive window; at 64 MiB OpenSSH's server burns ten times the processor time."""
REKEY_BYTES = 1 << 36
"""With AES-GCM (RFC 5647): a re-key that meets a closing channel can deadlock paramiko (its issue 822)."""
REKEY_TIMEOUT_S = 120.0
"""On a slow line our part of it waits behind megabytes of data."""
HOLDS_BACK = hasattr(paramiko.Transport, "_parse_newkeys")
"""Whether paramiko is as we know it: it tells us of a re-key's end."""
BANNER_TIMEOUT_S = 10.0
HANDSHAKE_TIMEOUT_S = 15.0
AUTH_TIMEOUT_S = 20.0

_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""Host key type -> signature algorithms, where they differ (RFC 8332)."""


class Transport(paramiko.Transport):
    """paramiko's, whose channels take their data from the packet layer, and which re-keys with channels that close."""

    def __init__(self, stream: socket.socket | paramiko.Channel) -> None:
        super().__init__(cast("socket.socket", stream), default_window_size=WINDOW_BYTES, packetizer_class=Packets)
        self.clear_to_send_timeout = REKEY_TIMEOUT_S
        self._held_back: list[paramiko.Message] = []

    @property
    def packets(self) -> Packets:
        """The packet layer."""
        return cast("Packets", self.packetizer)

    def open_channel(self, kind: str, *args: Any, **options: Any) -> paramiko.Channel:
        """As paramiko does."""
        channel = super().open_channel(kind, *args, **options)
        if kind != "session":
            return channel  # data may have come already: a session's waits for a command
        inbox = Inbox()
        channel.in_buffer = cast("Any", inbox)
        self.packets.route(channel.chanid, inbox)
        return channel

    def post(self, burst: Burst) -> None:
        """Send a channel's data, when no keys are being negotiated; raises `EOFError` on a dead line."""
        self._send_user_message(cast("paramiko.Message", burst))

    def _send_user_message(self, data: paramiko.Message) -> None:
        """Called with the answers to what the far side sent, too: by the one thread that can end a re-key.

        paramiko waits here for that end (its issue 822): with its own thread, for ever.
        """
        if HOLDS_BACK and threading.current_thread() is self and not self.clear_to_send.is_set():
            self._held_back.append(data)
        else:
            super()._send_user_message(data)  # type: ignore[misc]  # not in its stubs

    def _parse_newkeys(self, message: paramiko.Message) -> None:
        super()._parse_newkeys(message)  # type: ignore[misc]  # not in its stubs
        held_back, self._held_back = self._held_back, []
        for data in held_back:
            self._send_user_message(data)


class Refused(NotYet):
    """The host takes none of our keys, at present."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A transport that is logged in, and the thread that watches over it."""

    transport: paramiko.Transport
    watch: Watch

    def close(self) -> None:
        """Hang up."""
        self.watch.stop()
        _drop(self.transport)


def secured(
    stream: socket.socket | paramiko.Channel,
    hop: Hop,
    pinned: Sequence[HostKey],
    *,
    deadline: float,
    unlocked: Unlocked,
) -> Secured:
    """Speak SSH over `stream` and log in; the host key is compared with `pinned` before anything is said of the user.

    Raises `HostKeyMismatch` at once, and `NotYet` for whatever may change while a machine boots.
    """
    transport = Transport(stream)
    try:
        _negotiate(transport, hop, pinned, deadline)
        _check_host_key(transport.get_remote_server_key(), hop, pinned)
        _authenticate(transport, hop, deadline, unlocked)
    except (paramiko.SSHException, EOFError, OSError) as error:
        _drop(transport)
        raise NotYet(_handshake_reason(error)) from None
    except BaseException:
        _drop(transport)
        raise
    watch = Watch(transport, transport.packets)
    watch.start()
    return Secured(transport, watch)


def show_key(stream: socket.socket | paramiko.Channel, *, deadline: float) -> HostKey:
    """The host key that the other side of `stream` proves to have; the line is dropped. Raises `NotYet`."""
    transport = Transport(stream)
    remaining_s = max(1.0, deadline - time.monotonic())
    transport.banner_timeout = min(BANNER_TIMEOUT_S, remaining_s)
    try:
        transport.start_client(timeout=min(HANDSHAKE_TIMEOUT_S, remaining_s))
        shown = transport.get_remote_server_key()
        return HostKey(algorithm=shown.get_name(), base64=shown.get_base64())
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise NotYet(_handshake_reason(error)) from None
    finally:
        _drop(transport)


def _drop(transport: paramiko.Transport) -> None:
    hang_up(transport)
    transport.close()
    transport.sock.close()  # which close() leaves open where negotiation had not begun


def _negotiate(transport: paramiko.Transport, hop: Hop, pinned: Sequence[HostKey], deadline: float) -> None:
    remaining_s = max(1.0, deadline - time.monotonic())
    transport.banner_timeout = min(BANNER_TIMEOUT_S, remaining_s)
    transport.auth_timeout = min(AUTH_TIMEOUT_S, remaining_s)
    options = transport.get_security_options()
    options.ciphers = CIPHERS
    options.digests = DIGESTS
    options.key_types = _signature_algorithms(hop, pinned, transport.preferred_keys)
    try:
        transport.start_client(timeout=min(HANDSHAKE_TIMEOUT_S, remaining_s))
    except paramiko.SSHException as error:
        if "no acceptable host key" not in str(error):
            raise
        raise _mismatch(hop, "no host key of the pinned kind", pinned) from None
    if not transport.initial_kex_done:
        raise NotYet("it falls silent in the middle of the SSH handshake", stalled=True)
    if "gcm" in getattr(transport, "remote_cipher", ""):
        transport.packetizer.REKEY_BYTES = REKEY_BYTES


def _signature_algorithms(hop: Hop, pinned: Sequence[HostKey], verifiable: Sequence[str]) -> tuple[str, ...]:
    """Ask for the kinds that are pinned and no other, so that the host shows a key that can be compared."""
    names = [name for key in pinned for name in _SIGNATURES.get(key.algorithm, (key.algorithm,))]
    known = [name for name in dict.fromkeys(names) if name in verifiable]
    if not known:
        raise SpecError(
            f"the host key pinned for {hop.name} is of a kind that cannot be verified here",
            hint="an ssh-ed25519, ecdsa-sha2 or ssh-rsa host key is expected",
        )
    return tuple(known)


def _check_host_key(shown: paramiko.PKey, hop: Hop, pinned: Sequence[HostKey]) -> None:
    key = HostKey(algorithm=shown.get_name(), base64=shown.get_base64())
    if key not in pinned:
        raise _mismatch(hop, f"{key.algorithm} {fingerprint(key)}", pinned)


def _mismatch(hop: Hop, shown: str, pinned: Sequence[HostKey]) -> HostKeyMismatch:
    wanted = " or ".join(f"{key.algorithm} {fingerprint(key)}" for key in pinned)
    return HostKeyMismatch(
        f"{hop.host} port {hop.port} shows {shown}, pinned is {wanted}: "
        "another machine answers there, or someone sits in between; nothing was sent to it",
        hint="gpurun status shows the machine's present address; gpurun down RUN ends the run safely",
    )


def _authenticate(transport: paramiko.Transport, hop: Hop, deadline: float, unlocked: Unlocked) -> None:
    with offered(hop, unlocked) as keys:
        if not keys:
            raise HostUnreachable(
                f"there is no key to offer to {hop.user}@{hop.name}",
                hint="name one with `ssh.key` in the spec or IdentityFile in ssh_config, or load it with ssh-add",
            )
        for key in keys:
            if time.monotonic() > deadline:
                break
            if _takes(transport, hop.user, key):
                return
    raise Refused(f"it refuses {hop.user}'s key ({_described(keys)})", hint=_refused_hint(hop))


def _takes(transport: paramiko.Transport, user: str, key: paramiko.PKey) -> bool:
    try:
        return not transport.auth_publickey(user, key)
    except paramiko.AuthenticationException:
        if not transport.is_active():
            raise
        return False


def _described(keys: Sequence[paramiko.PKey]) -> str:
    shown = [f"{k.get_name()} {fingerprint(HostKey(algorithm=k.get_name(), base64=k.get_base64()))}" for k in keys]
    return ", ".join(shown)


def _refused_hint(hop: Hop) -> str:
    key = f"-i {hop.identity_files[0]} " if hop.identity_files else ""
    return f"see why: ssh -v {key}-p {hop.port} {hop.user}@{hop.host}; is {hop.user!r} the image's user?"


def _handshake_reason(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    if isinstance(error, EOFError) or "banner" in text:
        return "it answers, but not as an SSH server does (yet)"
    return f"the SSH handshake failed: {text}"
