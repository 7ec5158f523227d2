"""Where git's work tree begins, and what git leaves out of it beside its `.gitignore`s."""

from __future__ import annotations

from pathlib import Path


def top(folder: Path) -> Path | None:
    """The work tree that a folder lies in, by its topmost folder; `None` outside of any."""
    return next((each for each in (folder, *folder.parents) if git_folder(each) is not None), None)


def git_folder(folder: Path) -> Path | None:
    """What the `.git` of a work tree's top is or points to; `None` where there is none."""
    found = folder / ".git"
    try:
        if found.is_file():
            # A submodule's, or that of a further work tree of one repository.
            pointer = found.read_text(encoding="utf-8", errors="surrogateescape")
            found = folder / pointer.removeprefix("gitdir:").strip()
        return found if (found / "HEAD").is_file() else None
    except (OSError, ValueError):
        return None


def exclude_file(top_folder: Path) -> Path | None:
    """`info/exclude`, which all work trees of a repository share; it need not exist."""
    git = git_folder(top_folder)
    if git is None:
        return None
    try:
        shared = (git / "commondir").read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        shared = "."
    return git / shared / "info" / "exclude"
