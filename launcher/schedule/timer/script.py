"""The script that every kind of scheduler starts: the environment, a log that stays small, and the program.

Schedulers quote in ways of their own, and cron cuts a line off at a thousand characters; of this file they need no more
than its path. What is in it is quoted for sh (POSIX Shell Command Language, 2.2.2).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path

from launcher.errors import SpecError
from launcher.paths import StatePaths
from launcher.schedule.timer.entry import Entry
from launcher.schedule.timer.plan import MARK, File

SCRIPTS = "run-due.*.sh"
LOG_LIMIT_BYTES = 1_000_000
_LOG = """\
log={log}
if [ $# -eq 0 ]; then
    if [ -f "$log" ] && [ "$(($(wc -c < "$log")))" -gt {limit} ]; then mv -f "$log" "$log.1"; fi
    exec >> "$log" 2>&1
fi
"""


def path(state: StatePaths, kind: str) -> Path:
    """Where the script of a kind lies; no schedule's name has a dot in it."""
    return state.schedules.absolute() / f"run-due.{kind}.sh"


def log(state: StatePaths) -> Path:
    """What passes have said where nobody else keeps it; the one before it has `.1` behind."""
    return state.schedules.absolute() / "run-due.log"


def file(entry: Entry, kind: str, *, logs: bool) -> File:
    """The script of an entry; called with arguments it speaks to the terminal."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in entry.environment.items())
    keeps = _LOG.format(log=shlex.quote(str(log(entry.state))), limit=LOG_LIMIT_BYTES) if logs else ""
    text = f'#!/bin/sh\n# {MARK}\n{exports}{keeps}exec {shlex.join(entry.program)} "$@"\n'
    return File(path=path(entry.state, kind), content=os.fsencode(text))


def try_out(script: Path) -> None:
    """See that the program starts with nothing but what the script gives it; raises `SpecError` with what it said."""
    asked = ["/bin/sh", str(script), "--help"]
    done = subprocess.run(asked, env={}, cwd="/", capture_output=True, check=False, timeout=120)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise SpecError(
            f"gpurun does not start without this terminal's environment: {said[-1]:.200}",
            hint="gpurun schedule daemon keeps the time here",
        )


def is_ours(place: Path) -> bool:
    """Whether a file is one that an installation wrote."""
    try:
        return MARK.encode() in place.read_bytes()
    except OSError:
        return False


def remove(script: Path) -> tuple[str, ...]:
    """Take a script away, and the log where no other kind's script is left; gives what was removed."""
    gone: list[str] = []
    if not fnmatch(script.name, SCRIPTS):
        return ()
    if is_ours(script):
        script.unlink()
        gone.append(str(script))
    state = StatePaths(script.parent.parent)
    if not any(script.parent.glob(SCRIPTS)):
        for each in (log(state), log(state).with_suffix(".log.1")):
            if each.is_file():
                each.unlink()
                gone.append(str(each))
    return tuple(gone)
