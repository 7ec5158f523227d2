"""What a private key file holds: told apart, and mended in memory where that does no harm."""

from __future__ import annotations

import base64
import io
import re
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from launcher.errors import SpecError
from launcher.sync.ssh.lean import paramiko

OPENSSH_MAGIC = b"openssh-key-v1\0"
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
_PUBLIC = re.compile(r"^(ssh-|ecdsa-sha2-|sk-)\S+ AAAA|BEGIN (SSH2 )?PUBLIC KEY|BEGIN RSA PUBLIC KEY", re.MULTILINE)

_Private = Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey
_CLASSES: dict[type, type[paramiko.PKey]] = {
    Ed25519PrivateKey: paramiko.Ed25519Key,
    RSAPrivateKey: paramiko.RSAKey,
    EllipticCurvePrivateKey: paramiko.ECDSAKey,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedKey:
    """A private key file, understood; `pem` is the text with line ends and framing put right."""

    pem: str
    public_line: str | None
    encrypted: bool
    notes: tuple[str, ...]


class WrongPassphrase(ValueError):
    """The passphrase does not open the key."""


def parse(path: Path, data: bytes) -> ParsedKey:
    """Understand a key file's bytes; raises `SpecError` whose hint is the command that converts or mends it."""
    text = _decode(path, data)
    block = _BLOCK.search(text)
    if block is None:
        raise _refusal(path, text)
    pem = _reframe(block)
    encrypted = _is_encrypted(path, block)
    public = _stored_public_line(path, block) if encrypted else _derived_public_line(path, pem)
    return ParsedKey(pem=pem, public_line=public, encrypted=encrypted, notes=_mending_notes(path, data, text))


def load(path: Path, passphrase: str | None = None) -> paramiko.PKey:
    """The key, ready to sign; raises `SpecError`, or `WrongPassphrase` where `passphrase` does not open it."""
    try:
        key = parse(path, path.read_bytes())
    except OSError as error:
        raise SpecError(f"the key {path} cannot be read: {error.strerror}") from None
    return _signer(_open(path, key.pem, passphrase))


def _signer(private: _Private) -> paramiko.PKey:
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    for kind, signer in _CLASSES.items():
        if isinstance(private, kind):
            return signer.from_private_key(io.StringIO(text))
    raise AssertionError(f"unreachable: {type(private)}")


def _open(path: Path, pem: str, passphrase: str | None) -> _Private:
    password = passphrase.encode() if passphrase else None
    loader = serialization.load_ssh_private_key if "BEGIN OPENSSH" in pem else serialization.load_pem_private_key
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the ciphers of old PEM files, which are the user's, not ours
            private = loader(pem.encode(), password)
    except (ValueError, TypeError) as error:
        if password is not None:
            raise WrongPassphrase(str(path)) from None
        raise _corrupt(path, str(error)) from None
    except UnsupportedAlgorithm:
        raise _unsupported(path) from None
    if not isinstance(private, Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey):
        raise _unsupported(path)
    return private


def _decode(path: Path, data: bytes) -> str:
    if not data.strip():
        raise SpecError(f"the key {path} is empty", hint="copy it again from where it was made")
    if data[:1] == b"\x30":
        quoted = shlex.quote(str(path))
        raise SpecError(
            f"the key {path} is in the binary DER format, PEM or OpenSSH is expected",
            hint=f"openssl pkey -inform DER -in {quoted} -out {shlex.quote(str(path) + '.pem')}",
        )
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    return data.decode(encoding, errors="replace")


def _refusal(path: Path, text: str) -> SpecError:
    quoted = shlex.quote(str(path))
    if text.startswith("PuTTY-User-Key-File-"):
        target = shlex.quote(str(path.with_suffix(".pem")))
        return SpecError(
            f"the key {path} is in PuTTY's format, OpenSSH's is expected",
            hint=f"puttygen {quoted} -O private-openssh -o {target}",
        )
    if _PUBLIC.search(text):
        return _public_instead(path)
    if "BEGIN CERTIFICATE" in text:
        return SpecError(f"{path} is a certificate, a private key is expected", hint="name the private key")
    if "PRIVATE KEY-----" in text:
        return SpecError(
            f"the key {path} is cut short: its END line is missing", hint="copy it again from where it was made"
        )
    return SpecError(
        f"{path} is not a private key: no `-----BEGIN ... PRIVATE KEY-----` in it",
        hint="name an OpenSSH or PEM private key, such as the .pem file that EC2 gave you",
    )


def _public_instead(path: Path) -> SpecError:
    private = path.with_suffix("") if path.suffix == ".pub" else path
    hint = f"use {private}" if private != path and private.exists() else "name the file without .pub"
    return SpecError(f"{path} is a public key, the private one is expected", hint=hint)


def _reframe(block: re.Match[str]) -> str:
    """The block with plain line ends, no margins and a final newline: what every reader of keys accepts."""
    body = block[2].replace("\\n", "\n").replace("\\r", "")
    lines = [line.strip() for line in body.strip().splitlines()]
    return "\n".join([f"-----BEGIN {block[1]}-----", *lines, f"-----END {block[1]}-----", ""])


def _mending_notes(path: Path, data: bytes, text: str) -> tuple[str, ...]:
    quoted = shlex.quote(str(path))
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"} or data.startswith(b"\xef\xbb\xbf"):
        return (f"the key {path} carries Windows text marks: read as it was meant; `dos2unix {quoted}` mends it",)
    if "\r" in text:
        return (f"the key {path} has Windows line ends: read as it was meant; `sed -i 's/\\r$//' {quoted}` mends it",)
    if not text.endswith("\n"):
        return (f"the key {path} lacks its final newline: read as it was meant; `echo >> {quoted}` mends it",)
    return ()


def _is_encrypted(path: Path, block: re.Match[str]) -> bool:
    if block[1] == "ENCRYPTED PRIVATE KEY" or "Proc-Type: 4,ENCRYPTED" in block[2]:
        return True
    return block[1] == "OPENSSH PRIVATE KEY" and _openssh_fields(path, block)[0] != b"none"


def _stored_public_line(path: Path, block: re.Match[str]) -> str | None:
    """An encrypted OpenSSH key carries its public half in the clear; of others only a .pub file can tell."""
    if block[1] == "OPENSSH PRIVATE KEY":
        blob = _openssh_fields(path, block)[1]
        name = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", errors="replace")
        return f"{name} {base64.b64encode(blob).decode()}"
    try:
        line = Path(f"{path}.pub").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return line if _PUBLIC.match(line) else None


def _openssh_fields(path: Path, block: re.Match[str]) -> tuple[bytes, bytes]:
    """Cipher name and public key blob (openssh-portable, PROTOCOL.key)."""
    try:
        data = base64.b64decode("".join(_reframe(block).splitlines()[1:-1]), validate=True)
    except ValueError as error:
        raise _corrupt(path, str(error)) from None
    if not data.startswith(OPENSSH_MAGIC):
        raise _corrupt(path, "it does not begin as an OpenSSH key does")
    fields = io.BytesIO(data[len(OPENSSH_MAGIC) :])
    cipher, _kdf, _options = (_string(fields) for _ in range(3))
    fields.read(4)
    return cipher, _string(fields)


def _string(fields: io.BytesIO) -> bytes:
    return fields.read(int.from_bytes(fields.read(4), "big"))


def _derived_public_line(path: Path, pem: str) -> str:
    public = _open(path, pem, None).public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _corrupt(path: Path, reason: str) -> SpecError:
    first = reason.splitlines()[0].rstrip(".") if reason else "its contents do not fit together"
    return SpecError(
        f"the key {path} is cut short or damaged: {first[:120]}",
        hint=f"check it with: ssh-keygen -y -f {shlex.quote(str(path))}, or copy it again from where it was made",
    )


def _unsupported(path: Path) -> SpecError:
    return SpecError(
        f"the key {path} is of a kind that SSH servers no longer accept; ed25519, ECDSA or RSA is expected",
        hint="ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519",
    )
