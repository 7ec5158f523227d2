"""Paths in a spec or a flag: made absolute, and looked at.

Each raises `ValueError` with what was wrong and what is expected.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

from launcher.spec.mistakes import nearest, printable
from launcher.spec.values import matching, text_of

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[^\0\r\n]*)?")

_PREFIX_LIMIT_BYTES = 256
"""A key has at most 1024 bytes, and the run's id and the job's own names come behind it."""


def absolute(path: Path, base: Path) -> Path:
    """From `base` and the user's home, with `..` taken out, and links left as they are."""
    try:
        return Path(os.path.abspath(base / path.expanduser()))  # noqa: PTH100 - resolve() would follow links
    except RuntimeError as fault:
        raise ValueError(f"{printable(path)} has no home folder ({fault}), expected a path") from None


def folder(value: object, base: Path) -> Path:
    """An existing folder, relative to `base`."""
    path = _path(value, base)
    if not stat.S_ISDIR(_mode(path, "an existing folder")):
        raise ValueError(f"{path} is not a folder, expected an existing folder")
    return path


def file(value: object, base: Path) -> Path:
    """An existing file, relative to `base`."""
    path = _path(value, base)
    if stat.S_ISDIR(_mode(path, "an existing file")):
        raise ValueError(f"{path} is a folder, expected an existing file")
    return path


def data(value: object, base: Path) -> Path | str:
    """A readable file or folder, relative to `base`, or `s3://bucket/prefix`."""
    if isinstance(value, str) and value.startswith("s3:"):
        return matching(value, _BUCKET, "an address such as s3://bucket/prefix")
    path = _path(value, base)
    is_folder = stat.S_ISDIR(_mode(path, "a file or folder"))
    try:
        os.scandir(path).close() if is_folder else path.open("rb").close()
    except OSError as fault:
        reason = fault.strerror or fault
        raise ValueError(f"{path} cannot be read ({reason}), expected a readable file or folder") from None
    return path


def outputs(value: object, base: Path) -> Path | str:
    """A folder for the results, relative to `base`, or an `s3://bucket/prefix` that the machine sends them to."""
    if isinstance(value, str) and value.startswith("s3:"):
        return store(value)
    return output_folder(value, base)


def store(value: str) -> str:
    """An address of S3 whose objects can be told by plain relative names."""
    text = matching(value, _BUCKET, "an address such as s3://bucket/prefix").rstrip("/")
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if ".." in bucket or len(bucket) < 3 or len(bucket) > 63:
        raise ValueError(f"{bucket!r} names no bucket, expected 3 to 63 small letters, digits, dots and dashes")
    parts = prefix.split("/") if prefix else []
    if any(part in {"", ".", ".."} for part in parts) or not prefix.isprintable() or "$" in prefix:
        raise ValueError(f"{prefix!r} is no prefix for results, expected names with one / between them")
    if len(prefix.encode()) > _PREFIX_LIMIT_BYTES:
        raise ValueError(f"the prefix is too long, expected at most {_PREFIX_LIMIT_BYTES} bytes")
    return text


def output_folder(value: object, base: Path) -> Path:
    """A folder that is there or can be made, and that files can be written to; relative to `base`."""
    path = _path(value, base)
    expected = "expected a folder for the results"
    try:
        there = _nearest_that_is_there(path)
        if not there.is_dir():
            below = "" if there == path else f", so {path} cannot be made"
            raise ValueError(f"{there} is not a folder{below}, {expected}")
        # Permissions alone do not tell: root may write anywhere but to a read-only disk.
        tempfile.TemporaryFile(dir=there).close()
    except OSError as fault:
        reason = fault.strerror or fault
        raise ValueError(f"{path} cannot be written to ({reason}), {expected}") from None
    return path


def _nearest_that_is_there(path: Path) -> Path:
    """The path itself or the first of its parents that exists; a link to nothing counts as there."""
    for each in (path, *path.parents):
        try:
            each.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return each
    return path


def near_names(path: Path) -> str:
    """` (did you mean 'x'?)`, where the path's folder holds something with a name near its own."""
    try:
        return nearest(path.name, [each.name for each in path.parent.iterdir()])
    except OSError:
        return ""


def _path(value: object, base: Path) -> Path:
    written = text_of(str(value) if isinstance(value, Path) else value, "a path")
    path = absolute(Path(written), base)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{printable(path)} is not UTF-8, expected a path that is") from None
    return path


def _mode(path: Path, expected: str) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist{near_names(path)}, expected {expected}") from None
    except OSError as fault:
        raise ValueError(f"{path} cannot be reached ({fault.strerror or fault}), expected {expected}") from None
