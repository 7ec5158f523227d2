"""The code as it went up, kept for a machine that may have to take over: by then the folder may be another.

A run that goes on elsewhere with code that was edited meanwhile would end with weights that nobody can explain.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from launcher.sync.local import ignore, tree

LARGEST_BYTES = 1 << 30
"""More than that is data in the wrong place, and copying it would be felt."""


def keep(code: tree.Scan, place: Path) -> threading.Thread | None:
    """Copy what was scanned into `place`, in the background; `None` where it is there already or is too much.

    A file that is not as it was scanned ends it: no copy is better than a wrong one.
    """
    if place.exists() or code.size_bytes > LARGEST_BYTES:
        return None
    thread = threading.Thread(target=_copy, args=(code, place), name="gpurun-keepsake", daemon=True)
    thread.start()
    return thread


def kept(place: Path) -> tree.Scan | None:
    """The code as it went up, where it was kept."""
    return tree.scan(place, ignore=ignore.nothing()) if place.is_dir() else None


def _copy(code: tree.Scan, place: Path) -> None:
    draft = place.with_name(f"{place.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(mode=0o700, parents=True)
        whole = all(_copied(code.root, draft, item) for item in code.items)
    except OSError:
        whole = False
    if whole:
        draft.replace(place)
    else:
        shutil.rmtree(draft, ignore_errors=True)


def _copied(root: Path, draft: Path, item: tree.Item) -> bool:
    """One item into the copy; whether it is what was scanned."""
    source, target = root / item.name, draft / item.name
    if item.kind == "d":
        target.mkdir(parents=True, exist_ok=True)
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    if item.kind == "l":
        target.symlink_to(item.link_target)
        return True
    shutil.copy2(source, target)
    found = target.stat()
    return (found.st_size, found.st_mtime_ns) == (item.size_bytes, item.mtime_ns)
