"""The files with which ssh, scp and rsync reach a run's machine by its name, host key pinned."""

from __future__ import annotations

import errno
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.domain import Endpoint, HostKey
from launcher.errors import SpecError
from launcher.paths import RunPaths, StatePaths
from launcher.sync.ssh.keys import host_key_of, write_private
from launcher.sync.ssh.ssh_config import Hop, require_plain, resolve

if sys.platform != "win32":
    import fcntl

_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def write_known_hosts(path: Path, alias: str, keys: Sequence[HostKey]) -> None:
    """Pin a machine's host keys under `alias`, which stands for its address (ssh_config(5), HostKeyAlias)."""
    write_private(path, "".join(f"{alias} {key.algorithm} {key.base64}\n" for key in keys))


def read_known_hosts(path: Path) -> tuple[HostKey, ...]:
    """The pinned host keys; none where there is no file; raises `SpecError` where a line is no key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(host_key_of(line.partition(" ")[2]) for line in lines if line.strip())


def write_run_config(paths: RunPaths, *, run_id: str, name: str, endpoint: Endpoint) -> None:
    """Write the run's known_hosts and ssh_config: `ssh -F FILE RUN_ID`, or by the run's name.

    The endpoint's own ssh_config is resolved now, so that the file stands alone.
    Raises `SpecError` for a path that ssh_config cannot express.
    """
    write_known_hosts(paths.known_hosts, run_id, endpoint.host_keys)
    route = resolve(endpoint)
    jump_names = [f"{run_id}-jump-{number}" for number in range(1, len(route.jumps) + 1)]
    target = [
        f"Host {' '.join(dict.fromkeys([run_id, host_alias(name)]))}",
        *_address(route.target),
        f"HostKeyAlias {run_id}",
        f"UserKnownHostsFile {_quoted(paths.known_hosts)}",
        *_identities(route.target),
        *_proxy(route.target, jump_names, paths.ssh_config),
        *_COMMON,
    ]
    blocks = [target]
    for number, hop in enumerate(route.jumps):
        proxy = _proxy(hop, jump_names[:number], paths.ssh_config)
        blocks.append([f"Host {jump_names[number]}", *_address(hop), *_trust(hop), *_identities(hop), *proxy, *_COMMON])
    write_private(paths.ssh_config, "\n\n".join("\n    ".join(block) for block in blocks) + "\n")


_COMMON = (
    "GlobalKnownHostsFile /dev/null",
    "StrictHostKeyChecking yes",
    "UpdateHostKeys no",
    "CheckHostIP no",
    "ServerAliveInterval 5",
    "ServerAliveCountMax 3",
)


def write_index(state: StatePaths) -> None:
    """Gather every run's ssh_config in one file, the newest first, since a run's name may have been used before.

    Launchers do so one after the other, each with what is there when its turn comes: the last one drops nobody.
    """
    header = "# Written by gpurun, and written over; `ssh -F` with this file reaches every live run.\n"
    with _turn(state):
        found = [_dated(path) for path in state.runs.glob("*/ssh_config")]
        texts = [text for _, text in sorted((each for each in found if each), reverse=True)]
        write_private(state.ssh_config, "\n".join([header, *texts]))


def remove(state: StatePaths, run_id: str) -> None:
    """The machine is gone: so are the ways to it."""
    paths = state.run(run_id)
    paths.ssh_config.unlink(missing_ok=True)
    paths.known_hosts.unlink(missing_ok=True)
    write_index(state)


@contextmanager
def _turn(state: StatePaths) -> Iterator[None]:
    """One launcher at a time, where the system and the file system have flock(2)."""
    state.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state.home / ".ssh_config.lock").open("a") as lock:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        yield


_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


def _dated(path: Path) -> tuple[int, str] | None:
    """A file's age, in ns since the epoch, and text; `None` for one that its launcher has removed meanwhile."""
    try:
        return path.stat().st_mtime_ns, path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def host_alias(name: str) -> str:
    """A run's name as ssh takes it for a host: letters, digits, `.`, `_` and `-`, the rest made `-`."""
    return _UNSAFE_IN_NAME.sub("-", name).strip("-.") or "run"


def _address(hop: Hop) -> list[str]:
    require_plain(hop)
    return [f"HostName {hop.host}", f"Port {hop.port}", f"User {hop.user}"]


def _trust(hop: Hop) -> list[str]:
    files = " ".join(_quoted(path) for path in hop.known_hosts) or "/dev/null"
    alias = [f"HostKeyAlias {hop.host_key_alias}"] if hop.host_key_alias else []
    return [*alias, f"UserKnownHostsFile {files}"]


def _identities(hop: Hop) -> list[str]:
    lines = [f"IdentityFile {_quoted(path)}" for path in hop.identity_files]
    if hop.identities_only:
        lines.append("IdentitiesOnly yes")
    if hop.identity_agent:
        lines.append(f"IdentityAgent {_quoted(Path(hop.identity_agent))}")
    return lines


def _proxy(hop: Hop, jump_names: Sequence[str], config: Path) -> list[str]:
    """The last jump as a ProxyCommand: ProxyJump hands `-F` on unquoted, and fails where a path has a space."""
    if jump_names:
        path = shlex.quote(str(config)).replace("%", "%%")
        return [f"ProxyCommand ssh -F {path} -W '[%h]:%p' {jump_names[-1]}"]
    if hop.proxy_command:
        return [f"ProxyCommand {hop.proxy_command.replace('%', '%%')}"]
    return []


def _quoted(path: Path) -> str:
    """A path as ssh_config takes it: quotes around, `%` doubled; raises `SpecError` for what cannot be written."""
    text = str(path)
    if any(ord(c) < 32 for c in text) or "${" in text:
        raise SpecError(
            f"ssh_config cannot express the path {text!r}",
            hint="set XDG_STATE_HOME to a folder with a plain name",
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
