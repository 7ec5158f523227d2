"""Files and values from a machine that may say anything: small ones are read whole, and no value goes on unchecked."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

LONGEST_S = 1e9
"""Thirty years: what lasts longer is no measurement."""
SHORTEST_S = 1e-6
LARGEST = 1e300
"""So that sums and ratios of two stay finite."""
MOST = 1 << 53
"""Of things that are counted."""


class Unreadable(Exception):
    """Why a file or value cannot be used, in plain words."""


def open_file(folder: Path, name: str) -> BinaryIO:
    """A regular file in a folder, opened for reading; raises `Unreadable`, also for a link, pipe or device.

    Raises `FileNotFoundError` where there is none.
    """
    try:
        # A pipe would block whoever opens it, and a link may lead anywhere.
        number = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise Unreadable(f"{name} cannot be read ({fault.strerror or fault})") from fault
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Unreadable(f"{name} is no plain file")
    return os.fdopen(number, "rb")


def mapping(folder: Path, name: str, limit_bytes: int) -> Mapping[str, Any]:
    """The JSON object in a file; raises `Unreadable`, and `FileNotFoundError` where there is no such file."""
    with open_file(folder, name) as file:
        try:
            data = file.read(limit_bytes + 1)
        except OSError as fault:
            raise Unreadable(f"{name} cannot be read ({fault.strerror or fault})") from fault
    if len(data) > limit_bytes:
        raise Unreadable(f"{name} is larger than {limit_bytes >> 10} KiB")
    found = parsed(data)
    if not isinstance(found, dict):
        raise Unreadable(f"{name} is no JSON object")
    return found


def parsed(data: bytes) -> Any:
    """The JSON value; `None` where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def folder_inside(root: Path, *parts: str) -> Path | None:
    """A folder below a root, reached without any link; `None` where there is none. Raises `Unreadable` for a link."""
    folder = root
    for part in parts:
        if part in {"", ".", ".."} or "/" in part or "\0" in part:
            raise Unreadable(f"{part!r:.60} is no folder's name")
        folder /= part
        try:
            mode = folder.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as fault:
            raise Unreadable(f"{part!r:.60} cannot be read ({fault.strerror or fault})") from fault
        if not stat.S_ISDIR(mode):
            raise Unreadable(f"{part!r:.60} is no folder")
    return folder


def number(value: Any, least: float = -LARGEST, most: float = LARGEST) -> float | None:
    """A finite number within the bounds; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and least <= found <= most else None


def seconds(value: Any) -> float | None:
    """A duration; what is shorter than a microsecond is 0."""
    found = number(value, 0.0, LONGEST_S)
    return 0.0 if found is not None and found < SHORTEST_S else found


def count(value: Any, least: int = 0) -> int | None:
    """A whole number, as an int or as a float that is one."""
    found = number(value, least, MOST)
    return int(found) if found is not None and found.is_integer() else None


def text(value: Any, limit: int = 200) -> str:
    """One line of printable text, cut to the limit; empty for anything that is no text."""
    if not isinstance(value, str):
        return ""
    return "".join(sign if sign.isprintable() else " " for sign in value[: 4 * limit]).strip()[:limit]


def of(value: Any) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, dict) else {}
