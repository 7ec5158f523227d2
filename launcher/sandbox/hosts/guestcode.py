"""The code that hosts begin with, which must be of one piece with the daemon's, however long the daemon lives.

A checkout changes, or a package is upgraded, while a sandbox runs: hosts that booted from what lies there then would do
something else than the daemon asks, and say nothing of it (an image's content left out, say).
"""

from __future__ import annotations

import compileall
import shutil
from pathlib import Path

SOURCE = Path(__file__).parent / "guest"


def keep(state: Path) -> Path:
    """Copy it as it is now into the daemon's folder; the package's folder there."""
    kept = state / "code" / SOURCE.name
    # Half-written bytecode of other processes vanishes while it is copied.
    shutil.copytree(SOURCE, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pyc.*"))
    # Hosts see it read-only: what is not compiled now is compiled at each boot.
    compileall.compile_dir(kept, quiet=2)
    return kept
