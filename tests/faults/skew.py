"""A program on the laptop whose clock is wrong, for tests: hosts stay right, so that the two differ as much.

The other way round is the sandbox's: `SandboxClient.settings(clock_ahead_s=300)` before a machine is launched.
"""

from __future__ import annotations

from pathlib import Path

from launcher.sandbox.hosts import clock


def environment(folder: Path, ahead_s: float) -> dict[str, str]:
    """What to add to a program's environment so that it, and all that it starts, is `ahead_s` seconds ahead.

    The library for it is made in `folder` by the C compiler; `GpurunError` where there is none.
    """
    return {"LD_PRELOAD": str(clock.library(folder, ahead_s))} if ahead_s else {}
