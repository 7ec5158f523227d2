"""Copies of whole folders, owners, modes, links and times included."""

from __future__ import annotations

import subprocess
from pathlib import Path

from launcher.errors import GpurunError
from launcher.sandbox.hosts.sweeping import remove_folder


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder to where nothing is; whole or not at all. Raises `GpurunError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f"{target.name}.half")
    # Where the file system shares blocks, cp(1) does not copy them.
    done = subprocess.run(["cp", "-a", str(source), str(half)], capture_output=True, check=False)
    if done.returncode:
        remove_folder(half)
        raise GpurunError(f"the disk was not copied: {done.stderr.decode(errors='replace')[-300:].strip()}", hint="df")
    half.rename(target)
