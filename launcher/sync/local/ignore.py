"""What stays at home: `.gpurunignore` laid over `.gitignore`, both as git reads them, and what never goes up."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from launcher.paths import state_home
from launcher.sync.local import ignore_file, work_tree
from launcher.sync.local.ignore_file import Line, Lines, as_bytes_text

OWN_FILE = ".gpurunignore"
GIT_FILE = ".gitignore"
ALWAYS_OUT = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        "node_modules",
        ".DS_Store",
        ".cache",
        ".direnv",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".terraform",
        ".tox",
        # Whoever launches from the home folder does not mean to send these.
        ".ssh",
        ".aws",
        ".azure",
        ".docker",
        ".git-credentials",
        ".gnupg",
        ".kube",
        ".netrc",
        ".pypirc",
    }
)
"""Wherever they lie; `!name` in .gpurunignore brings one back."""
FOLDERS_OUT = frozenset({".env", ".venv"})
"""As folders alone: a file `.env` holds settings that the job may read."""
ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
"""What lies in a folder that is a virtual environment, and in one of conda's."""
RESULTS = "runs"
"""Our own results folder, at the top alone."""


@dataclass(frozen=True, slots=True)
class Level:
    """The lines of one ignore file, and where it lies."""

    lines: Lines
    above: str = ""
    """The way from its folder down to the tree, with a `/` behind it; empty for a file in the tree."""
    depth: int = 0
    """How many characters of a name in the tree lead to its folder."""

    def way(self, prefix: str) -> str:
        """The way from its folder to the one whose names begin with `prefix`."""
        return self.above + prefix[self.depth :]


@dataclass(frozen=True)
class Rules:
    """The rules that hold in one folder: those of the folders above it and its own."""

    own: tuple[Level, ...] = ()
    """The `.gpurunignore`s, innermost first."""
    git: tuple[Level, ...] = ()
    """The `.gitignore`s, innermost first, and what git knows besides."""
    everything: bool = False
    """Whether all goes up, as data does: no file is read, no name is out."""
    closed: bool = False
    """Whether the folder is out, and goes up only as far as `.gpurunignore` brings a part of it back."""

    def enter(self, folder: str | Path, prefix: str, present: Container[str]) -> Rules:
        """The rules in a folder that holds the names in `present`.

        `prefix` is what the names of the tree begin with there: empty at the top, with a `/` behind it below.
        Raises `SpecError` on an ignore file that cannot be read.
        """
        if self.everything:
            return self
        rules, depth = self, len(as_bytes_text(prefix))
        if GIT_FILE in present:
            # Git follows no link here; neither do we.
            lines = ignore_file.read(Path(folder, GIT_FILE), follow_links=False)
            rules = replace(rules, git=(Level(lines, depth=depth), *rules.git)) if lines.all else rules
        if OWN_FILE in present:
            lines = ignore_file.read(Path(folder, OWN_FILE), follow_links=True)
            rules = replace(rules, own=(Level(lines, depth=depth), *rules.own)) if lines.all else rules
        return rules

    def below(self, prefix: str) -> Rules:
        """The same rules for the folder at `prefix` as a tree of its own."""
        prefix = as_bytes_text(prefix)
        own = tuple(Level(level.lines, above=level.way(prefix)) for level in self.own)
        return replace(self, own=own, git=tuple(Level(level.lines, above=level.way(prefix)) for level in self.git))

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """All of them."""
        return (*self.own, *self.git)

    @cached_property
    def state(self) -> str:
        """Gpurun's own folder, which never goes up: private keys, a journal that changes, the sandbox's hosts."""
        return os.path.realpath(state_home())

    @cached_property
    def names(self) -> frozenset[str]:
        """Every bare name that something is known of."""
        state = {state_home().name}
        if self.everything:
            return frozenset(state)
        return frozenset().union(state, ALWAYS_OUT, FOLDERS_OUT, {RESULTS}, *(each.lines.names for each in self.levels))

    @cached_property
    def endings(self) -> tuple[str, ...]:
        """Every ending that something is known of."""
        return tuple(frozenset().union(*(level.lines.endings for level in self.levels)))

    @cached_property
    def globs(self) -> tuple[Callable[[str], object], ...]:
        """What matches the other patterns of bare names."""
        return tuple(level.lines.globs.fullmatch for level in self.levels if level.lines.globs)


class Judge:
    """Decides on the names of one folder; most of them it knows nothing of, and says so quickly."""

    __slots__ = ("_endings", "_folder", "_globs", "_names", "_paths", "prefix", "rules")

    def __init__(self, rules: Rules, folder: str | Path, prefix: str) -> None:
        """`prefix` is as `Rules.enter` takes it."""
        self.rules, self._folder, self.prefix = rules, folder, as_bytes_text(prefix)
        self._names, self._endings, self._globs = rules.names, rules.endings, rules.globs
        ways = [(level.way(self.prefix), level.lines.paths) for level in rules.levels if level.lines.paths]
        self._paths = [(way, line.matches) for way, lines in ways for line in lines if line.may_match_in(way)]

    def excludes(self, name: str, *, folder: bool) -> bool:
        """Whether a file or folder stays at home."""
        text = as_bytes_text(name)
        if not self.rules.closed and not self._known(text):
            return False
        if folder and self._is_state(name):
            return True
        if self.rules.everything:
            return False
        own = self._last_match(self.rules.own, text, folder=folder)
        if self._never(text, folder=folder):
            return not _names_it(own)
        if own is not None:
            return own.excludes
        return self.rules.closed or self._git_excludes(text, folder=folder)

    def brings_back(self, name: str) -> bool:
        """Whether `.gpurunignore` brings a folder back by its very name: a `!*/` is not meant for environments."""
        return _names_it(self._last_match(self.rules.own, as_bytes_text(name), folder=True))

    def reopens(self, name: str) -> bool:
        """Whether `.gpurunignore` brings back something in a folder that is out, though not by a line of its own."""
        text = as_bytes_text(name)
        if not self.rules.own or self._is_state(name):
            return False
        own = self._last_match(self.rules.own, text, folder=True)
        if own is not None and own.excludes:
            return False
        by_name = self._never(text, folder=True)
        return any(
            _reopens(line, level.way(self.prefix) + text + "/", by_name=by_name)
            for level in self.rules.own
            for line in level.lines.paths
        )

    def lines_exclude(self, name: str) -> bool:
        """Whether a line of some file leaves a folder out."""
        text = as_bytes_text(name)
        own = self._last_match(self.rules.own, text, folder=True)
        return own.excludes if own is not None else self._git_excludes(text, folder=True)

    def _known(self, text: str) -> bool:
        if text in self._names or text.endswith(self._endings):
            return True
        # Not any(), which makes a generator first: this is asked of every name.
        for matches in self._globs:
            if matches(text):
                return True
        return bool(self._paths) and any(matches(way + text) for way, matches in self._paths)

    def _never(self, text: str, *, folder: bool) -> bool:
        if text in ALWAYS_OUT:
            return True
        return folder and (text in FOLDERS_OUT or (text == RESULTS and not self.prefix))

    def _is_state(self, name: str) -> bool:
        if name != state_home().name:
            return False
        return os.path.realpath(Path(self._folder, name)) == self.rules.state

    def _git_excludes(self, text: str, *, folder: bool) -> bool:
        line = self._last_match(self.rules.git, text, folder=folder)
        return line is not None and line.excludes

    def _last_match(self, levels: tuple[Level, ...], text: str, *, folder: bool) -> Line | None:
        found = (level.lines.last_match(text, level.way(self.prefix), folder=folder) for level in levels)
        return next((line for line in found if line is not None), None)


def _reopens(line: Line, way: str, *, by_name: bool) -> bool:
    """Whether a line may bring back what lies below a folder; `by_name`: only where it writes the way to it out."""
    if line.excludes or not line.literal:
        return False
    return line.literal.startswith(way) or (not by_name and not line.plain and way.startswith(line.literal))


def _names_it(line: Line | None) -> bool:
    return line is not None and line.plain and not line.excludes


def nothing() -> Rules:
    """No rules: everything goes up, as data does."""
    return Rules(everything=True)


def rules(root: Path) -> Rules:
    """The rules for a folder of code, as those above it in git's work tree have them.

    Raises `SpecError` on an ignore file that cannot be read.
    """
    root = Path(os.path.realpath(root))
    top = work_tree.top(root)
    if top is None:
        return Rules()
    exclude = work_tree.exclude_file(top)
    lines = ignore_file.read(exclude, follow_links=True) if exclude else Lines()
    found, folder, prefix = Rules(git=(Level(lines),) if lines.all else ()), top, ""
    for name in root.relative_to(top).parts:
        found = found.enter(folder, prefix, {OWN_FILE, GIT_FILE})
        if Judge(found, folder, prefix).lines_exclude(name):
            # Whoever launches from a folder that git leaves out means to send it.
            return Rules()
        folder, prefix = folder / name, f"{prefix}{name}/"
    return found.below(prefix)
