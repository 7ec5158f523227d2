"""`gpurun schedule fire`: what machines of a deployed schedule run."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.commands import session


def fire(folder: str) -> int:
    """Do this machine's turn, telling what goes on; raises what keeps it from it."""
    from launcher.deploy import fire as firing
    from launcher.deploy import machine, unpacked

    def tell(text: str) -> None:
        sys.stderr.write(f"gpurun: {text}\n")
        sys.stderr.flush()

    return firing.fire(unpacked.read(Path(folder)), machine.about(), session.state(), tell)
