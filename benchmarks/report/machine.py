"""What something is measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent


def machine(more: str = "") -> str:
    """The system, its cores and `more` about them, and Python."""
    return f"{platform.platform()}, {os.cpu_count()} cores{more}, Python {platform.python_version()}"


def commit() -> str:
    """The checkout's, short; empty where it is none."""
    return first_line("git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD")


def first_line(*command: str) -> str:
    """What a command says first, on whichever output; empty where it fails or is not there."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if ran.returncode else (ran.stdout or ran.stderr).partition("\n")[0].strip()
