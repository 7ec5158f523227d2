"""Bytes and JSON to standard output."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON on standard output; dataclasses, dates, paths and enums included."""
    text = json.dumps(value, default=_plain, indent=indent, ensure_ascii=False) + "\n"
    write_out(text.encode("utf-8", "surrogateescape"))


def write_out(data: bytes) -> None:
    """Write to standard output; a reader that left, a full disk or a closed terminal must not end a run."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError:
        # What is still in the buffer goes nowhere, and nothing more is tried.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(type(value).__name__)
