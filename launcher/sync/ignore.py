"""What stays at home: `.gpurunignore`, else `.gitignore` as git reads it, and what never goes up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pathspec import GitIgnoreSpec

from launcher.errors import SpecError
from launcher.paths import state_home

OWN_FILE = ".gpurunignore"
GIT_FILE = ".gitignore"
ALWAYS_OUT = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        "node_modules",
        ".ipynb_checkpoints",
        ".DS_Store",
        # Whoever launches from the home folder does not mean to send these.
        ".ssh",
        ".aws",
        ".gnupg",
    }
)
RESULTS = "runs"
"""Our own results folder, at the top alone."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file; the last line that matches decides."""

    regex: re.Pattern[str]
    excludes: bool
    folders_only: bool

    def matches(self, name: str, *, folder: bool) -> bool:
        """Whether the line names this very file or folder, and not merely a folder above it."""
        found = self.regex.search(name)
        if found and found.groupdict().get("ps_d") is None:
            return True
        if not (folder and self.folders_only):
            return False
        return any(found.start("ps_d") == len(name) for found in self.regex.finditer(name + "/"))


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that hold in one folder: those of the folders above it, outermost first, and its own."""

    file_name: str
    """Which ignore file is read in each folder; empty: none."""
    levels: tuple[tuple[str, tuple[Pattern, ...]], ...] = ()
    """(the folder that the lines were found in with a `/` behind it, its lines)."""
    everything: bool = False
    """Whether even what never goes up as code goes up."""

    def inside(self, folder: Path, prefix: str) -> Self:
        """The rules in a folder of the tree, whose names begin with `prefix`; raises `SpecError` on an unreadable file.

        `prefix` is empty at the top and ends with a `/` below it.
        """
        patterns = _read(folder / self.file_name) if self.file_name else ()
        if not patterns:
            return self
        return type(self)(self.file_name, (*self.levels, (prefix, patterns)), self.everything)

    def exclude(self, path: Path, name: str, *, folder: bool) -> bool:
        """Whether the file or folder called `name` in the tree stays at home."""
        if folder and _is_state(path):
            return True
        if not self.everything and _never(path, name, folder=folder):
            return True
        for prefix, patterns in reversed(self.levels):
            for pattern in reversed(patterns):
                if pattern.matches(name[len(prefix) :], folder=folder):
                    return pattern.excludes
        return False


def rules(root: Path) -> Rules:
    """The rules for a folder of code: its `.gpurunignore`s where the top has one, else its `.gitignore`s."""
    return Rules(OWN_FILE if (root / OWN_FILE).exists() else GIT_FILE)


def nothing() -> Rules:
    """No rules: everything goes up, as data does."""
    return Rules("", everything=True)


def _never(path: Path, name: str, *, folder: bool) -> bool:
    base = name.rpartition("/")[2]
    if base in ALWAYS_OUT or (name == RESULTS and folder):
        return True
    return folder and (path / "pyvenv.cfg").exists()


def _is_state(path: Path) -> bool:
    """Whether it is gpurun's own state: private keys, a journal that changes, and the sandbox's hosts."""
    own = state_home()
    return path.name == own.name and path.resolve() == own.resolve()


def _read(path: Path) -> tuple[Pattern, ...]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, IsADirectoryError):
        return ()
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}", hint=f"chmod u+r {path}") from None
    return tuple(pattern for line in text.splitlines() for pattern in _patterns(path, line))


def _patterns(path: Path, line: str) -> list[Pattern]:
    try:
        compiled = GitIgnoreSpec.from_lines([line]).patterns
    except ValueError as error:
        raise SpecError(f"{path}: {line!r} is not a pattern: {error}", hint=f"edit {path}") from None
    return [
        Pattern(regex=pattern.regex, excludes=pattern.include, folders_only=line.rstrip().endswith("/"))
        for pattern in compiled
        if pattern.include is not None
    ]
