"""Processes of gpurun's own program, started as this very copy of it, whatever folder they run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Where this package lies."""


def command(module: str, *arguments: str) -> list[str]:
    """The argument list that runs a module of the package; `-P`: the current folder is nobody's library."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The caller's, with this package found before any other of its name."""
    others = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *others])}
