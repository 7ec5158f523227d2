"""Many files on the disk at once, where the system can: one flush instead of one for each."""

from __future__ import annotations

import os
import sys

FIRST_TRUTHFUL_KERNEL = (5, 8)
"""From which on syncfs(2) tells what could not be written."""


def flush_file_system(folder: str) -> bool:
    """Have all that was written to that folder's file system on the disk; `False` where the system offers no way.

    Raises `OSError` where something could not be written.
    """
    if sys.platform != "linux" or _kernel() < FIRST_TRUTHFUL_KERNEL:
        return False
    import ctypes  # noqa: PLC0415  (some milliseconds that small transfers need not pay)

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)
    return True


def flush(path: str) -> None:
    """Have one file or folder on the disk; raises `OSError`. Windows opens no folders."""
    if sys.platform == "win32" and os.path.isdir(path):  # noqa: PTH112  (paths here are text, of many files)
        return
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)
