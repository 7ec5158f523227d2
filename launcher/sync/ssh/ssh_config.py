"""What the user's ssh_config says of a host: address, jumps, keys (OpenSSH, ssh_config(5))."""

from __future__ import annotations

import getpass
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.domain import Endpoint
from launcher.errors import SpecError
from launcher.sync.ssh.lean import paramiko

MAX_INCLUDE_DEPTH = 16
"""As in OpenSSH's readconf.c."""
MAX_JUMPS = 8
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")

_Options = Mapping[str, str | list[str]]

_SAFE_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_SAFE_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.@+-]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::(?P<port>\d+))?/?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One host on the way, the machine itself included, as ssh_config resolves it."""

    name: str
    """As the user or the run wrote it."""
    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    """In the order in which to offer them; those that do not exist are left out, unless the run named it."""
    identities_only: bool
    identity_agent: str | None
    proxy_command: str | None
    host_key_alias: str | None
    known_hosts: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The machine and the jump hosts before it, in the order in which they are passed."""

    jumps: tuple[Hop, ...]
    target: Hop


def resolve(endpoint: Endpoint) -> Route:
    """The way to an endpoint; raises `SpecError` for an ssh_config that cannot be read or followed.

    `endpoint.config_file` alone is read where it is given, as `ssh -F` does; else ~/.ssh/config and the system's.
    The endpoint's user and key stand before the file's; its port does where it is not 22.
    """
    _require_words(endpoint.address, endpoint.user or "any")
    config = _Config(endpoint.config_file)
    port = endpoint.port if endpoint.port != 22 else None
    options = config.lookup(endpoint.address, user=endpoint.user, port=port)
    target = _hop(endpoint.address, options)
    if endpoint.key_file is not None:
        target = replace(target, identity_files=(endpoint.key_file.expanduser(),), identities_only=True)
    proxy = endpoint.proxy or _text(options, "proxyjump")
    if proxy and proxy.lower() != "none":
        return Route(jumps=_jumps(config, proxy, ()), target=replace(target, proxy_command=None))
    return Route(jumps=(), target=target)


class _Config:
    """The files' text; parsed anew for each host, so that the caller's user and port can stand first in it."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        if file is not None:
            self._text = _read(file, required=True)
        else:
            self._text = f"{_read(Path('~/.ssh/config').expanduser())}\nMatch all\n{_read(SYSTEM_CONFIG)}"

    def lookup(self, name: str, *, user: str | None, port: int | None) -> _Options:
        """All options for a host; the first value that is found holds, as in OpenSSH."""
        first = [f"User {user}"] if user else []
        first += [f"Port {port}"] if port else []
        try:
            return _lookup(paramiko.SSHConfig.from_text("\n".join([*first, self._text])), name)
        except (paramiko.SSHException, ValueError, KeyError, OSError) as error:
            raise _unusable(self._file, str(error)) from None


def _lookup(config: paramiko.SSHConfig, name: str) -> _Options:
    try:
        return config.lookup(name)
    except (KeyError, OSError):
        # getpass.getuser() in paramiko: no passwd entry for this uid, as in many containers.
        os.environ.setdefault("LOGNAME", f"uid{os.getuid()}")
    return config.lookup(name)


def _unusable(file: Path | None, reason: str) -> SpecError:
    named = file or Path("~/.ssh/config")
    return SpecError(f"the ssh config {named} cannot be used: {reason}", hint=f"check it with: ssh -G -F {named} host")


def _read(file: Path, *, required: bool = False, depth: int = 0) -> str:
    """A file's text with its Include lines replaced by what they name, which paramiko does not do."""
    try:
        text = file.expanduser().read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        if required:
            raise SpecError(
                f"the ssh config {file} cannot be read: {error.strerror}",
                hint=f"see `ls -l {file}`; one of the sandbox is there again after: gpurun sandbox start",
            ) from None
        return ""
    lines: list[str] = []
    block = "Match all"
    for line in text.splitlines():
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() in {"host", "match"}:
            block = line
        if keyword.lower() == "include" and depth < MAX_INCLUDE_DEPTH:
            included = [_read(found, depth=depth + 1) for found in _included(file, rest)]
            lines += [*included, block]
        else:
            lines.append(line)
    return "\n".join(lines)


def _included(file: Path, patterns: str) -> list[Path]:
    base = Path("/etc/ssh") if file == SYSTEM_CONFIG else Path("~/.ssh").expanduser()
    names = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', patterns)]
    found = (glob.glob(str(base / Path(name).expanduser())) for name in names)  # noqa: PTH207  # absolute patterns
    return [Path(path) for group in found for path in sorted(group)]


def _hop(name: str, options: _Options) -> Hop:
    command = _text(options, "proxycommand")
    return Hop(
        name=name,
        host=_text(options, "hostname") or name,
        port=_port(options, name),
        user=_text(options, "user") or _login_name(),
        identity_files=_identity_files(options),
        identities_only=(_text(options, "identitiesonly") or "no").lower() == "yes",
        identity_agent=_text(options, "identityagent"),
        proxy_command=command if command and command.lower() != "none" else None,
        host_key_alias=_text(options, "hostkeyalias"),
        known_hosts=_known_hosts(options),
    )


def _text(options: _Options, key: str) -> str | None:
    value = options.get(key)
    return value if isinstance(value, str) else None


def _port(options: _Options, name: str) -> int:
    text = _text(options, "port") or "22"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SpecError(
            f"the ssh config gives {name} the port {text!r}, a number up to 65535 is expected",
            hint=f"check it with: ssh -G {name}",
        )
    return int(text)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no passwd entry for this uid, as in many containers
        return f"uid{os.getuid()}"


def _identity_files(options: _Options) -> tuple[Path, ...]:
    named = options.get("identityfile") or []
    if not named:
        named = [f"~/.ssh/{name}" for name in DEFAULT_IDENTITIES]
    paths = (Path(name).expanduser() for name in named if name.lower() != "none")
    return tuple(path for path in paths if path.is_file())


def _known_hosts(options: _Options) -> tuple[Path, ...]:
    users = _text(options, "userknownhostsfile") or "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    systems = _text(options, "globalknownhostsfile") or "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
    names = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', f"{users} {systems}")]
    return tuple(Path(name).expanduser() for name in names if name.lower() != "none")


def _jumps(config: _Config, proxy: str, seen: tuple[str, ...]) -> tuple[Hop, ...]:
    """The hops that a ProxyJump value names, those of the first hop's own configuration before them."""
    hops: list[Hop] = []
    for index, text in enumerate(part.strip() for part in proxy.split(",")):
        user, host, port = _parse_jump(text)
        if host in seen or len(seen) >= MAX_JUMPS:
            raise SpecError(
                f"the ProxyJump chain goes in a circle: {' -> '.join([*seen, host])}",
                hint=f"check it with: ssh -G {host}",
            )
        options = config.lookup(host, user=user, port=port)
        before = _text(options, "proxyjump")
        if index == 0 and before and before.lower() != "none":
            hops += _jumps(config, before, (*seen, host))
        hops.append(_hop(host, options))
    return tuple(hops)


def _parse_jump(text: str) -> tuple[str | None, str, int | None]:
    match = _JUMP.fullmatch(text)
    if match is None:
        raise SpecError(
            f"the ssh proxy {text!r} is not understood, [user@]host[:port] is expected",
            hint="see ProxyJump in ~/.ssh/config: ssh -G HOST",
        )
    return match["user"], match["host"].strip("[]"), int(match["port"]) if match["port"] else None


def require_plain(hop: Hop) -> None:
    """Refuse a host or user that a shell or an ssh_config would read as more than a word; raises `SpecError`.

    OpenSSH does the same since 9.6 (CVE-2023-51385).
    """
    _require_words(hop.host, hop.user)


def _require_words(host: str, user: str) -> None:
    if not _SAFE_HOST.fullmatch(host) or not _SAFE_USER.fullmatch(user):
        raise SpecError(
            f"{f'{user}@{host}'!r} is no user and host for SSH",
            hint="letters, digits and . _ - are expected, in a host : and % too",
        )
