"""Which names and links may cross: what the machine sends is checked here before a byte is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Protocol

from launcher.domain import FileKind
from launcher.errors import TransferError

PARTIAL_PREFIX = ".partial-gpurun-"
"""Our own folders for what is not verified yet; nothing may come that is called so."""
WINDOWS_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))})
PART_LIMIT_BYTES = 255
SHOWN_LIMIT = 4096
"""Characters: as long as a path may be on Linux (limits.h, PATH_MAX)."""
TOLD_LIMIT = 500
"""Characters of a message from the far side."""


class Named(Protocol):
    """A line of a tree, as far as it is checked here."""

    @property
    def name(self) -> str:
        """Relative, with `/` between its parts."""

    @property
    def kind(self) -> FileKind:
        """What it is."""

    @property
    def link_target(self) -> str:
        """Of a symbolic link."""


def check_name(name: str, *, windows: bool = sys.platform == "win32") -> None:
    """Accept a relative path whose parts lead downwards only; raises `TransferError` on any other."""
    parts = name.split("/")
    if not name or "\0" in name:
        raise _refused(name, "it is empty or holds a NUL")
    if name.startswith("/"):
        raise _refused(name, "it is absolute")
    if {"", ".", ".."} & set(parts):
        raise _refused(name, "it has an empty part, `.` or `..`")
    # On a disk that tells no case apart another spelling leads there too.
    if name.casefold().startswith(PARTIAL_PREFIX):
        raise _refused(name, "it is kept for files on their way")
    try:
        longest = max(len(os.fsencode(part)) for part in parts)
    except UnicodeEncodeError:
        raise _refused(name, "it is not text") from None
    if longest > PART_LIMIT_BYTES:
        raise _refused(name, f"a part is longer than {PART_LIMIT_BYTES} bytes")
    if windows:
        _check_windows(name, parts)


def check_link(name: str, target: str, *, windows: bool = sys.platform == "win32") -> None:
    """Accept a link that stays in the tree; raises `TransferError` on any other.

    `..` may only come first: behind another link it would lead elsewhere than it reads.
    """
    if not leads_inside(name, target):
        raise TransferError(f"{shown(name)} is a link to {shown(target)}, which leads out of the folder")
    if windows and set(target) & set('\\:<>"|?*'):
        raise TransferError(f"{shown(name)} is a link to {shown(target)}, which Windows reads otherwise")


def leads_inside(name: str, target: str) -> bool:
    """Whether a link of that name and target stays in the tree that the name is relative to."""
    if not target or target.startswith("/") or "\0" in target:
        return False
    parts = target.split("/")
    ups = parts.count("..")
    return parts[:ups] == [".."] * ups and ups <= name.count("/")


def check_tree(entries: Sequence[Named], *, fold_case: bool = sys.platform in {"win32", "darwin"}) -> None:
    """Accept names that are safe one by one and together; raises `TransferError` on any other.

    Nothing may lie twice, nor below something that is no folder: a link there would lead the write elsewhere.
    """
    kinds: dict[str, FileKind] = {}
    for entry in entries:
        check_name(entry.name)
        if entry.kind is FileKind.SYMLINK:
            check_link(entry.name, entry.link_target)
        if kinds.setdefault(_key(entry.name, fold_case=fold_case), entry.kind) is not entry.kind:
            raise _refused(entry.name, "it comes twice")
    if len(kinds) != len(entries):
        raise TransferError("the machine sent a name twice, or two names that are one on this disk")
    for entry in entries:
        parent = _key(entry.name, fold_case=fold_case)
        while parent := parent.rpartition("/")[0]:
            if kinds.get(parent, FileKind.DIRECTORY) is not FileKind.DIRECTORY:
                raise _refused(entry.name, f"it lies below {shown(parent)}, which is no folder")


def shown(name: str) -> str:
    """A name as a terminal may be given it: control characters and broken text escaped, the very long cut."""
    part = name if len(name) <= SHOWN_LIMIT else name[:SHOWN_LIMIT] + "..."
    return part if part.isprintable() else ascii(part)


def told(text: str) -> str:
    """What the far side says, as one line that a terminal may be given: no control characters, and not too long."""
    line = " ".join(text[:TOLD_LIMIT].split())
    safe = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    return safe + ("..." if len(text) > TOLD_LIMIT else "")


def _key(name: str, *, fold_case: bool) -> str:
    return name.casefold() if fold_case else name


def _check_windows(name: str, parts: Sequence[str]) -> None:
    if set(name) & set('\\:<>"|?*') or any(ord(character) < 32 for character in name):
        raise _refused(name, "it has a character that Windows does not allow")
    if any(part[-1] in ". " or part.partition(".")[0].casefold() in WINDOWS_DEVICES for part in parts):
        raise _refused(name, "Windows reads it otherwise")


def _refused(name: str, why: str) -> TransferError:
    return TransferError(f"the machine sent the name {shown(name)}, which is refused: {why}; nothing was written")
