"""What lies on snapshots: a folder of this computer for each, which goes when its snapshot does."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from launcher.errors import GpurunError
from launcher.sandbox.hosts.copying import copy_tree
from launcher.sandbox.hosts.sweeping import remove_folder

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.sandbox.cloud.guest import Guest
    from launcher.sandbox.machine import Host


class Contents:
    """The snapshots that have content; a disk that is being made of one keeps its content until it is whole."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._readers: Counter[Path] = Counter()
        self._doomed: set[Path] = set()

    def save(self, host: Host, snapshot_id: str) -> None:
        """Put a host's disk there; raises `GpurunError`."""
        host.save_disk(self._home / snapshot_id)

    def copy(self, content: Path, snapshot_id: str) -> None:
        """Put another snapshot's content there; raises `GpurunError`."""
        copy_tree(content, self._home / snapshot_id)

    def hold(self, snapshot_id: str) -> Path | None:
        """A snapshot's content, which stays until it is released; `None` where it has none."""
        content = self._home / snapshot_id
        with self._lock:
            if content in self._doomed or not content.is_dir():
                return None
            self._readers[content] += 1
        return content

    def give(self, guest: Guest) -> None:
        """Let a new guest have what its image holds; that stays until the guest lets go of it."""
        image = guest.instance.ec2_backend.amis.get(guest.instance.image_id)
        guest.content = self.hold(image.ebs_snapshot.id) if image is not None else None
        guest.lost = guest.content is None and getattr(image, "has_content", False)

    def of(self, guest: Guest) -> Path | None:
        """What a guest's disk is to begin with; raises `GpurunError` where its image had something, and it is gone."""
        if guest.lost:
            raise GpurunError(f"what {guest.instance.image_id} held is not there any more", hint="gpurun ami bake")
        return guest.content

    def let_go(self, guest: Guest) -> None:
        """A guest's disk has its image's content, or will never need it."""
        content, guest.content = guest.content, None
        if content is not None:
            self.release(content)

    def release(self, content: Path) -> None:
        """Nobody reads it any more who held it."""
        with self._lock:
            self._readers[content] -= 1
            doomed = not self._readers[content] and content in self._doomed
        if doomed:
            self._remove(content)

    def remove(self, snapshot_id: str) -> None:
        """The snapshot is gone; its content too, as soon as nobody reads it."""
        content = self._home / snapshot_id
        with self._lock:
            self._doomed.add(content)
            free = not self._readers[content]
        if free:
            self._remove(content)

    def close(self) -> None:
        """Remove all of them."""
        remove_folder(self._home)

    def _remove(self, content: Path) -> None:
        remove_folder(content)
        with self._lock:
            self._doomed.discard(content)
