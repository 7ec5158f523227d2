"""What a user gets when gpurun itself is wrong: a file with the traceback, and the way to a clean state."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime

from launcher import __version__
from launcher.paths import state_home


def report(error: Exception, arguments: list[str]) -> str:
    """Write the traceback into the state folder and say where; the command line goes in, its environment does not."""
    text = "".join(traceback.format_exception(error))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = state_home() / f"crash-{stamp}.txt"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(f"gpurun {__version__} {arguments}\n{text}")
        where = f"the traceback is in {path}"
    except OSError:
        where = f"the traceback could not be saved:\n{text}"
    kind = type(error).__name__
    return (
        f"error: a bug in gpurun: {kind}: {error}\n  {where}\n  next: gpurun status, which tells what is left running\n"
    )
