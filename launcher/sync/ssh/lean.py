"""paramiko without `invoke`, which it wants for `Match exec` alone and which costs a tenth of a second."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import SimpleNamespace

_held_back = "invoke" not in sys.modules
if _held_back:
    sys.modules["invoke"] = None  # type: ignore[assignment]  # None makes the import statement fail at once

import paramiko  # noqa: E402  # after the line above, which is the point
import paramiko.config  # noqa: E402  # likewise

if _held_back:
    del sys.modules["invoke"]

__all__ = ["paramiko"]


def _run_match_exec(command: str, **_options: object) -> SimpleNamespace:
    """What paramiko asks of `invoke`, without its threads that read our standard input."""
    done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    return SimpleNamespace(ok=done.returncode == 0)


paramiko.config.invoke = SimpleNamespace(run=_run_match_exec)  # type: ignore[attr-defined]  # not in its stubs

# Every failure is raised to the caller in our words; paramiko's own lines would end on the user's terminal.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
