"""Contents that lie on the machine image, each under its size and digest: a data set that every run uses is no upload.

`python3 -m launcher.agent.store PATH...` fills it when an image is made (see ami/).
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from .hashes import digest_of_leaves, leaves_of

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = ("/opt/gpurun/store", "~/gpurun/store")
BLOCK_BYTES = 1 << 20
LEAST_BYTES = 1 << 16
"""Smaller files are sooner sent than looked for."""


def stored(wanted: str = "") -> Iterator[tuple[int, str]]:
    """(size, name) of all contents; with `wanted`, (size, path) of that one. A name is `SIZE-DIGEST`."""
    for folder in STORES:
        home = os.path.expanduser(folder)
        if not os.path.isdir(home):
            continue
        for name in os.listdir(home) if not wanted else [wanted]:
            size = name.partition("-")[0]
            if size.isdigit() and "/" not in name and os.path.isfile(f"{home}/{name}"):
                yield int(size), f"{home}/{name}" if wanted else name


def add(paths: list[str], folder: str = STORES[0]) -> list[str]:
    """Copy files, and the files of folders, into a store; gives the names there. Raises `OSError`."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    return [add_file(path, folder) for root in paths for path in files_of(root) if os.path.getsize(path) >= LEAST_BYTES]


def files_of(root: str) -> Iterator[str]:
    """A file itself, or all regular files below a folder."""
    if os.path.isfile(root):
        yield root
    for above, _, names in os.walk(root):
        for name in names:
            path = os.path.join(above, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def add_file(path: str, folder: str) -> str:
    """One file, in its place in one step."""
    leaves: list[bytes] = []
    with open(path, "rb") as file:
        while True:
            block = file.read(BLOCK_BYTES)
            if not block and leaves:
                break
            leaves.append(leaves_of(block))
        size = file.tell()
    name = f"{size}-{digest_of_leaves(b''.join(leaves)).hex()}"
    partial = f"{folder}/.{name}.part"
    shutil.copyfile(path, partial)
    os.chmod(partial, 0o444)
    os.replace(partial, f"{folder}/{name}")
    return name


if __name__ == "__main__":
    for added in add(sys.argv[1:]):
        print(added)
