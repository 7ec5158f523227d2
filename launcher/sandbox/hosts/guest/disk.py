"""A host's disk of its own: a file system in memory whose size can be changed while it is in use (tmpfs(5))."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from . import linux

SHOWN_AT = "/home"
"""One of the places where it is shown; its size is the same at all of them."""
TRIES = 1000


def make(place: str, size_bytes: int) -> None:
    """Mount it; raises `OSError`."""
    linux.mount("tmpfs", place, "tmpfs", flags=linux.MS_NODEV, options=f"mode=755,size={size_bytes}")


def begin_with(content: str, place: str) -> None:
    """Fill a disk that is still empty with an image's content; raises `OSError`."""
    if not any(Path(place).iterdir()) and os.spawnlp(os.P_WAIT, "cp", "cp", "-a", f"{content}/.", place):  # noqa: S606 - a shell is not wanted
        raise OSError(errno.EIO, "the image's content could not be put on the disk")


def fill(leave_bytes: int | None, whole_bytes: int) -> str:
    """Leave that much room on it, or all that it has (`None`); what went wrong, if anything did."""
    for _ in range(TRIES):
        try:
            _resize(whole_bytes if leave_bytes is None else min(whole_bytes, _used_bytes() + leave_bytes))
        except OSError as error:
            # Somebody has written meanwhile: no file system becomes smaller than what it holds.
            if error.errno != errno.EINVAL:
                return str(error)
        else:
            return ""
    return "it is written to too fast"


def _used_bytes() -> int:
    state = os.statvfs(SHOWN_AT)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _resize(size_bytes: int) -> None:
    flags = linux.MS_REMOUNT | linux.MS_NOSUID | linux.MS_NODEV
    # A size of 0 would mean no limit.
    linux.mount("tmpfs", SHOWN_AT, "tmpfs", flags=flags, options=f"size={max(size_bytes, 1)}")
