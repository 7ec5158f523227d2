"""Room for what comes: folders made, and nothing of another kind where files and links are to lie.

A folder of ours mirrors a machine's: whatever is in the way goes. In a user's folder that is theirs, and is refused,
as it is for what comes over SSH (`launcher.sync.down.settle`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from launcher.aws.durable.generation import Item, leads_inside
from launcher.domain import FileKind
from launcher.errors import TransferError


def clear(folder: Path, items: Sequence[Item]) -> None:
    """Make room in a folder of ours; raises `OSError`."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for item in _in_order(items):
        path = folder / item.name
        if item.kind is FileKind.DIRECTORY:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            path.mkdir(exist_ok=True)
        elif _is_folder(path):
            shutil.rmtree(path)


def make(folder: Path, items: Sequence[Item], hint: str) -> None:
    """Make room in a user's folder: what gives way is empty folders, and files and links of an earlier pull.

    Raises `TransferError` for a folder that is not empty, and for a link that cannot be one of those since it leads
    out of `folder`; `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        if item.kind is not FileKind.DIRECTORY and not _is_linked(folder, item.name):
            _refuse_content(folder / item.name, hint)
    for item in _in_order(items):
        if item.kind is FileKind.DIRECTORY:
            _make_folder(folder, item.name, hint)


def _in_order(items: Sequence[Item]) -> list[Item]:
    """Folders before what lies in them."""
    return sorted(items, key=lambda item: item.name)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_linked(folder: Path, name: str) -> bool:
    """Whether a step on the way to it is a link: what is seen through that is not what lies there."""
    above = [step for step in Path(name).parents if step.parts]
    return any((folder / step).is_symlink() for step in above)


def _refuse_content(path: Path, hint: str) -> None:
    if not _is_folder(path):
        return
    try:
        path.rmdir()
    except OSError:
        raise TransferError(
            f"{str(path)!r} is a folder here that is not empty, and was none on the machine", hint=hint
        ) from None


def _make_folder(folder: Path, name: str, hint: str) -> None:
    """One folder: those above it are there."""
    path = folder / name
    if path.is_symlink():
        if not leads_inside(name, str(path.readlink())):
            raise TransferError(f"{str(path)!r} is a link: nothing is written through it", hint=hint)
        path.unlink()
    elif path.is_file():
        path.unlink()
    path.mkdir(exist_ok=True)
