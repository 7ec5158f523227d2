"""Folders that are made, pushed, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launcher.domain import TransferProgress
from launcher.sync.local import ignore
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Scan, scan
from launcher.sync.up import upload
from launcher.sync.up.upload import Transferred

Tree = dict[str, object]
MB = 10**6
MIB = 1 << 20


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


def look(root: Path) -> Scan:
    return scan(root, ignore=ignore.nothing())


def push(lines: Any, root: Path, remote_dir: str, report: Any = silent, memory: Memory | None = None) -> Transferred:
    return upload.push(lines, look(root), remote_dir, report, "code", memory=memory)


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tree(root: Path) -> Tree:
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name, info = str(path.relative_to(root)), path.lstat()
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = "folder" if path.is_dir() else (path.read_bytes(), info.st_mode, info.st_mtime_ns)
    return found
