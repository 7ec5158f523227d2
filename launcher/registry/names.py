"""What may be called what: models, addresses of versions, and the files of a version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.errors import WeightsError

CHAMPION, LATEST = "champion", "latest"
RESERVED = frozenset({"objects", "trash"})
"""Folders of the store's own, beside those of the models."""
MAX_FILE_NAME = 255
MAX_DIGITS = 9
_MODEL = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_NUMBER = re.compile(rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`NAME@3`, `NAME@champion` or `NAME@latest`."""

    name: str
    which: int | str
    """A number, `champion` or `latest`."""

    def __str__(self) -> str:
        return f"{self.name}@{self.which}"


def check_model(text: str) -> str:
    """The name of a model, which is a folder's name too; raises `WeightsError`."""
    if not _MODEL.fullmatch(text) or text in RESERVED:
        raise WeightsError(
            f"{text[:60]!r} cannot be a model's name, expected a-z, 0-9 and -, at most 41 of them",
            hint="gpurun weights list shows the names that there are",
        )
    return text


def is_model(text: str) -> bool:
    """Whether a model may be called so."""
    return _MODEL.fullmatch(text) is not None and text not in RESERVED


def parse_address(text: str, *, default: str = CHAMPION) -> Address:
    """What a user means by `NAME`, `NAME@3`, `NAME@champion` or `NAME@latest`; raises `WeightsError`."""
    name, at, which = text.partition("@")
    check_model(name)
    word = which if at else default
    if word in {CHAMPION, LATEST}:
        return Address(name=name, which=word)
    number = parse_number(word.removeprefix("v"))
    if number is None:
        raise WeightsError(
            f"{text[:100]!r} is no address of weights", hint=f"{name}@{CHAMPION}, {name}@{LATEST} or {name}@3"
        )
    return Address(name=name, which=number)


def parse_number(text: str) -> int | None:
    """A version's or an entry's number as it is written: decimal, from 1, no zeros before it; `None` for all else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def is_sha256(text: object) -> bool:
    """Whether it is a sha256 in lower-case hexadecimal."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def check_file(text: object) -> str:
    """A file's name within a version: relative, downwards, printable; raises `WeightsError` for any other.

    Stored descriptions are shared by a team: what they say must not lead a read or an export elsewhere.
    """
    parts = text.split("/") if isinstance(text, str) else []
    plain = (
        isinstance(text, str)
        and 0 < len(text) <= MAX_FILE_NAME
        and text.isprintable()
        and not set(text) & set('\\:*?"<>|')
        and not any(part in {"", ".", ".."} or part.startswith(".") or part.endswith((" ", ".")) for part in parts)
    )
    if not plain:
        raise WeightsError(
            f"{text!r:.100} cannot be a file of a version: expected a plain relative path",
            hint="rename it, or leave it out",
        )
    return str(text)
