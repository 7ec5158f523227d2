"""What lies on snapshots: a folder of this computer for each, which goes when its snapshot does."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

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

    def of_image(self, instance: Any) -> Path | None:
        """What the image holds that an instance is launched from; it stays until the instance lets go of it."""
        image = instance.ec2_backend.amis.get(instance.image_id)
        return self.hold(image.ebs_snapshot.id) if image is not None else None

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
