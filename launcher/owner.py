"""Who makes a run: the tag that tells one laptop's machines from another's."""

from __future__ import annotations

import getpass
import platform

TAG_OWNER = "gpurun:owner"


def owner() -> str:
    """`user@host` of this laptop."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a passwd entry, as in many containers
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"
