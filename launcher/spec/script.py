"""From a bare script and its arguments to a JobSpec."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.domain import JobSpec, Requirements
from launcher.errors import SpecError
from launcher.spec import files, values
from launcher.spec.mistakes import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERPRETERS = {".py": "python", ".sh": "bash"}


def for_script(script: Path, args: Sequence[str], *, cwd: Path) -> JobSpec:
    """A job that runs one script: `.py` with python, `.sh` with bash, anything else by itself.

    The working folder is `cwd` where the script lies below it, else the script's own. Raises `SpecError`.
    """
    path = files.absolute(script, cwd)
    _check(path)
    base = files.absolute(cwd, Path.cwd())
    workdir = base if path.is_relative_to(base) else path.parent
    relative = path.relative_to(workdir).as_posix()
    interpreter = _INTERPRETERS.get(path.suffix.lower())
    program = (interpreter, relative) if interpreter else (f"./{relative}",)
    return JobSpec(
        name=values.slug(path.stem),
        argv=(*program, *args),
        workdir=workdir,
        resources=Requirements(gpu_count=1),
    )


def _check(path: Path) -> None:
    shown = printable(path)
    if not path.exists():
        raise SpecError(
            f"there is no script {shown}{files.near_names(path)}", hint=f"see what is there: `ls {path.parent}`"
        )
    if not path.is_file():
        raise SpecError(f"{shown} is not a file, expected a script", hint="name a script, or a spec ending in .yaml")
    try:
        path.open("rb").close()
    except OSError as fault:
        raise SpecError(f"cannot read {shown}: {fault.strerror}", hint=f"chmod u+r {shown}") from fault
    if path.suffix.lower() not in _INTERPRETERS and not os.access(path, os.X_OK):
        raise SpecError(
            f"{shown} is neither a .py nor a .sh file nor executable, expected one of them",
            hint=f"chmod +x {shown}",
        )
