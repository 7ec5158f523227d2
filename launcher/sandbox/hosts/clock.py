"""Clocks that are wrong: a small library that programs load before the C library, made by this computer's compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from launcher.errors import GpurunError

SOURCE = Path(__file__).with_suffix(".c")


def check() -> None:
    """Raise `GpurunError` where there is no C compiler."""
    _compiler()


def library(folder: Path, ahead_s: float) -> Path:
    """The library in `folder` for a clock that is that many whole seconds ahead, made where it is not there yet.

    Raises `GpurunError` where there is no C compiler, or it fails.
    """
    made = folder / f"clock{ahead_s:+.0f}.so"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(".new")
        flags = ("-shared", "-fPIC", "-O1", f"-DAHEAD_S=({ahead_s:.0f})")
        done = subprocess.run(
            [_compiler(), *flags, "-o", str(partial), str(SOURCE), "-ldl"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise GpurunError(f"the wrong clock cannot be made: {done.stderr.strip()}", hint="leave clock_ahead_s at 0")
        partial.replace(made)
    return made


def _compiler() -> str:
    found = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if found is None:
        raise GpurunError("a wrong clock needs a C compiler", hint="apt install gcc")
    return found
