"""paramiko without `invoke`, which it wants for `Match exec` alone and which costs a tenth of a second."""

from __future__ import annotations

import importlib
import logging
import sys

_held_back = "invoke" not in sys.modules
if _held_back:
    sys.modules["invoke"] = None  # type: ignore[assignment]  # None makes the import statement fail at once

import paramiko  # noqa: E402  # after the line above, which is the point
import paramiko.config  # noqa: E402

if _held_back:
    del sys.modules["invoke"]

# Every failure is raised to the caller in our words; paramiko's own lines would end on the user's terminal.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

__all__ = ["allow_match_exec", "paramiko"]


def allow_match_exec() -> None:
    """Give paramiko the module that `Match exec` needs; raises ImportError where it is not installed."""
    paramiko.config.invoke = importlib.import_module("invoke")  # type: ignore[attr-defined]  # not in its stubs
