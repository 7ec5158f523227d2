"""What comes from home: parcels, rows, and the order to put them in place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from launcher.agent import commit
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.agent.parcels import join
from launcher.agent.record import contents_digest

ROOT = "gpurun/r/code"
Json = Any
BIG = os.urandom(3 * LEAF_BYTES + 5)


def files(**contents: bytes) -> bytes:
    rows = [[name, len(content), 7, 0o644] for name, content in contents.items()]
    return join({"files": rows}, [digest_of(content) for content in contents.values()], [*contents.values()])


def part(name: str, size: int, offset: int, content: bytes, **changes: Json) -> bytes:
    digest = changes.get("digest", digest_of(content))
    return join({"parts": [name, size, 7, [[offset, len(content), 0]]]}, [digest], [content])


def seal(name: str, content: bytes) -> bytes:
    return join({"seal": [name, len(content), 7, 0o644]}, [digest_of(content)], [])


def row(name: str, content: bytes) -> list[Json]:
    return [name, "f", len(content), 7, 0o644, "", digest_of(content).hex()]


def update(*items: Json, **order: Json) -> bool:
    """Order what was staged to be put in place, and tell whether it was."""
    order = {"delete": [], "folders": [], "links": [], "meta": [], **order}
    expect = contents_digest(sorted(items))
    return bool(commit.commit(None, {"root": ROOT, "expect": expect, **order})["committed"])  # type: ignore[arg-type]


def tree(root: str | Path) -> dict[str, object]:
    """All of it: links, modes, times and contents."""
    found: dict[str, object] = {}
    for path in sorted(Path(root).rglob("*")):
        info = path.lstat()
        if path.is_symlink():
            line: object = path.readlink()
        elif path.is_dir():
            line = stat.S_IMODE(info.st_mode)
        else:
            line = (stat.S_IMODE(info.st_mode), info.st_mtime_ns, path.read_bytes())
        found[str(path.relative_to(root))] = line
    return found


def fill(root: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
