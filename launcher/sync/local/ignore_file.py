"""One ignore file, read as git reads it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launcher.errors import SpecError
from launcher.sync.local import wildmatch

_NOTHING_TO_READ = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One pattern; the last one that matches decides."""

    matches: Callable[[str], object]
    """Takes a bare name, or for a line `on_path` the way from the file's folder; as `as_bytes_text` gives them."""
    regex: str
    excludes: bool
    folders_only: bool
    on_path: bool
    literal: str
    """Its beginning, as far as that stands for itself."""
    plain: bool
    """Whether that is all of it."""
    ending: str | None
    """Of a bare name's pattern such as `*.log`, what comes behind the star."""

    def may_match_in(self, way: str) -> bool:
        """Whether it can match anything in the folder that `way` leads to: quick, and right where it says no."""
        return self.literal.startswith(way) or way.startswith(self.literal)


@dataclass(frozen=True)
class Lines:
    """All patterns of one file, in its order, and what tells quickly that none of them matches."""

    all: tuple[Line, ...] = ()

    @cached_property
    def names(self) -> frozenset[str]:
        """The bare names that stand for themselves."""
        return frozenset(line.literal for line in self.all if line.plain and not line.on_path)

    @cached_property
    def endings(self) -> frozenset[str]:
        """The endings that are all a pattern asks for."""
        return frozenset(line.ending for line in self.all if line.ending is not None)

    @cached_property
    def globs(self) -> re.Pattern[str] | None:
        """All other patterns of bare names, as one."""
        rest = [line.regex for line in self.all if not line.on_path and not line.plain and line.ending is None]
        return re.compile("|".join(rest), re.DOTALL) if rest else None

    @cached_property
    def paths(self) -> tuple[Line, ...]:
        """The patterns of more than a bare name."""
        return tuple(line for line in self.all if line.on_path)

    def last_match(self, name: str, way: str, *, folder: bool) -> Line | None:
        """The line that decides on a bare name; `way` leads from the file's folder to the name's."""
        for line in reversed(self.all):
            if (folder or not line.folders_only) and line.matches(way + name if line.on_path else name):
                return line
        return None


def as_bytes_text(name: str) -> str:
    """A name with one character for each of its bytes: git's `?` is a byte."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")


def read(path: Path, *, follow_links: bool) -> Lines:
    """The patterns of a file; none where it is missing or no file; raises `SpecError` where it cannot be read."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0))
    try:
        descriptor = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Lines()
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return parse(file.read())
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NOTHING_TO_READ:
            return Lines()
        raise SpecError(f"{path}: {error.strerror}", hint=f"chmod u+r {path}") from None


def parse(data: bytes) -> Lines:
    """The patterns in the bytes of a file."""
    text = data.removeprefix(_BYTE_ORDER_MARK).decode("latin-1")
    return Lines(tuple(line for each in text.split("\n") if (line := _line(each)) is not None))


def _line(text: str) -> Line | None:
    text = text.removesuffix("\r").partition("\0")[0]
    if text.startswith("#"):
        return None
    pattern = _without_trailing_spaces(text)
    excludes = not pattern.startswith("!")
    pattern = pattern if excludes else pattern[1:]
    folders_only = pattern.endswith("/")
    pattern = pattern[:-1] if folders_only else pattern
    on_path = "/" in pattern
    pattern = pattern.removeprefix("/")
    if not pattern:
        return None
    try:
        regex = (wildmatch.path_regex if on_path else wildmatch.name_regex)(pattern)
    except wildmatch.NeverMatches:
        return None
    length = wildmatch.literal_length(pattern)
    is_ending = not on_path and pattern[0] == "*" and wildmatch.literal_length(pattern[1:]) == len(pattern) - 1
    return Line(
        matches=_matcher(regex),
        regex=regex,
        excludes=excludes,
        folders_only=folders_only,
        on_path=on_path,
        literal=pattern[:length],
        plain=length == len(pattern),
        ending=pattern[1:] if is_ending else None,
    )


def _matcher(regex: str) -> Callable[[str], object]:
    # Compiled when it is first asked: most lines never are.
    return lambda text: re.fullmatch(regex, text, re.DOTALL)


def _without_trailing_spaces(text: str) -> str:
    """Git drops spaces at the end, unless a backslash stands before them."""
    bare = text.rstrip(" ")
    escaped = (len(bare) - len(bare.rstrip("\\"))) % 2
    return text[: len(bare) + 1] if escaped and len(text) > len(bare) else bare
