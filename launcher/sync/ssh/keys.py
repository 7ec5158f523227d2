"""Private keys: made for a run, or the user's own, found, checked and repaired."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import stat
import tempfile
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from launcher.domain import HostKey
from launcher.errors import SpecError
from launcher.sync.ssh import agent_keys, key_formats

KEY_FILE_LIMIT_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedKey:
    """A fresh key pair, in OpenSSH's formats."""

    private_pem: str
    public_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKey:
    """The user's own private key, fit for use."""

    path: Path
    public_line: str | None
    """`None` where the file is encrypted as a whole and no .pub file lies beside it."""
    encrypted: bool
    notes: tuple[str, ...]
    """What was repaired, or had better be, each a sentence for the user."""


def generate(comment: str) -> GeneratedKey:
    """A new ed25519 key pair; `comment` ends the public line."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    line = " ".join([public.decode(), *comment.split()])
    return GeneratedKey(private_pem=pem.decode(), public_line=line)


def host_key_of(public_line: str) -> HostKey:
    """The host key in a line of a .pub or known_hosts file without its host field; raises `SpecError`."""
    algorithm, _, rest = public_line.strip().partition(" ")
    blob = rest.split(" ")[0]
    if not algorithm or not _is_public_blob(algorithm, blob):
        raise SpecError(f"not an SSH public key: {public_line.strip()[:60]!r}")
    return HostKey(algorithm=algorithm, base64=blob)


def fingerprint(key: HostKey) -> str:
    """`SHA256:...`, as OpenSSH prints it."""
    digest = hashlib.sha256(base64.b64decode(key.base64)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def write_private(path: Path, text: str) -> None:
    """Write `text` for the user's eyes alone (0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def inspect(path: Path, *, repair: bool = True) -> UserKey:
    """Check a private key that the user names, and close its permissions to 0400 where they are too open.

    With `repair` off nothing is changed: what would be is said in the notes.
    Raises `SpecError`, whose hint is the command that puts it right.
    """
    path = path.expanduser()
    _require_file(path)
    _require_own(path)
    notes = _close_permissions(path, repair=repair)
    key = key_formats.parse(path, _read(path))
    if key.encrypted:
        notes += _require_way_to_unlock(path, key.public_line)
    return UserKey(path=path, public_line=key.public_line, encrypted=key.encrypted, notes=notes + key.notes)


def _is_public_blob(algorithm: str, blob: str) -> bool:
    try:
        data = base64.b64decode(blob, validate=True)
    except ValueError:
        return False
    name = algorithm.encode()
    return data.startswith(len(name).to_bytes(4, "big") + name)


def _require_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix == ".pem" or p.name in _USUAL_NAMES)
        hint = f"name the key itself, such as {path / inside[0]}" if inside else "name the private key itself"
        raise SpecError(f"the key {path} is a folder, a private key file is expected", hint=hint)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise SpecError(f"the key {path} cannot be reached: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise SpecError(f"the key {path} is not a regular file", hint="name a private key file")


_USUAL_NAMES = frozenset({"id_ed25519", "id_ecdsa", "id_rsa"})


def _missing(path: Path) -> SpecError:
    near = _near(path)
    if near:
        return SpecError(f"there is no key {path}; found nearby: {', '.join(map(str, near))}", hint=f"use {near[0]}")
    return SpecError(
        f"there is no key {path}",
        hint="leave `ssh.key` out, and a key is made for the run and deleted with it",
    )


def _near(path: Path) -> list[Path]:
    """Keys that the user may have meant: the same name elsewhere first, then names a slip away."""
    folders = dict.fromkeys([path.parent, Path.cwd(), Path("~/.ssh").expanduser(), Path("~/Downloads").expanduser()])
    same, similar = [], []
    for folder in folders:
        names = _key_names(folder)
        same += [folder / n for n in names if Path(n).stem == path.stem]
        similar += [folder / n for n in get_close_matches(path.name, names, n=3, cutoff=0.7)]
    return list(dict.fromkeys(same + similar))[:5]


def _key_names(folder: Path) -> list[str]:
    try:
        return sorted(p.name for p in folder.iterdir() if p.suffix != ".pub" and p.is_file())
    except OSError:
        return []


def _require_own(path: Path) -> None:
    owner = path.stat().st_uid
    if owner == os.geteuid():
        return
    command = f"sudo chown {os.geteuid()} {shlex.quote(str(path))}"
    raise SpecError(
        f"the key {path} belongs to another user (uid {owner}, you are {os.geteuid()})",
        hint=f"{command}, or take a copy: {_copy_command(path)}",
    )


def _copy_command(path: Path) -> str:
    target = Path("~/.ssh").expanduser() / path.name
    return f"install -D -m 400 {shlex.quote(str(path))} {shlex.quote(str(target))}"


def _close_permissions(path: Path, *, repair: bool) -> tuple[str, ...]:
    """OpenSSH refuses a key that group or others can reach (sshkey_perm_ok in authfile.c); nor should we use one."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077 and mode & 0o400:
        return ()
    wrong = "can be reached by others" if mode & 0o077 else "cannot be read by you"
    if not repair:
        return (f"the key {path} {wrong} ({mode:04o}): chmod 400 {shlex.quote(str(path))}",)
    try:
        path.chmod(0o400)
    except OSError as error:
        raise _unclosable(path, mode, error.strerror or str(error)) from None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise _unclosable(path, mode, "the file system keeps no permissions")
    return (f"the key {path} {wrong} ({mode:04o}): made 0400",)


def _unclosable(path: Path, mode: int, reason: str) -> SpecError:
    return SpecError(
        f"the key {path} has permissions {mode:04o} and they cannot be set to 0400: {reason}",
        hint=f"take a copy where permissions hold: {_copy_command(path)}, and name that one",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(KEY_FILE_LIMIT_BYTES + 1)[:KEY_FILE_LIMIT_BYTES]
    except OSError as error:
        raise SpecError(f"the key {path} cannot be read: {error.strerror}") from None


def _require_way_to_unlock(path: Path, public_line: str | None) -> tuple[str, ...]:
    if public_line is not None and agent_keys.holds(public_line):
        return ()
    if can_ask():
        return (f"the key {path} has a passphrase, which will be asked for; `ssh-add {path}` spares that",)
    raise SpecError(
        f"the key {path} has a passphrase, no ssh-agent holds it and there is no terminal to ask on",
        hint=f"ssh-add {shlex.quote(str(path))}",
    )


def can_ask() -> bool:
    """Whether a passphrase can be asked for: the process has a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
