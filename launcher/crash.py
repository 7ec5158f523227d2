"""What a user gets when gpurun itself is wrong: a file with the traceback, and the way to a clean state."""

from __future__ import annotations

import os
import tempfile
import traceback
from datetime import UTC, datetime

from launcher import __version__
from launcher.paths import state_home

_HIDDEN = "***"
_SHORTEST_TO_HIDE = 6
"""Values shorter than that are hidden on the command line alone: they would blot out half of a traceback."""


def report(error: Exception, arguments: list[str]) -> str:
    """Write the traceback into the state folder and say where.

    The command line goes in without the values of --env; the environment does not.
    """
    shown, values = _without_values(arguments)
    text = "".join(traceback.format_exception(error))
    for value in values:
        text = text.replace(value, _HIDDEN)
    try:
        path = _save(f"gpurun {__version__} {shown}\n{text}")
        where = f"the traceback is in {path}"
    except OSError:
        where = f"the traceback could not be saved:\n{text}"
    kind = type(error).__name__
    return (
        f"error: a bug in gpurun: {kind}: {error}\n  {where}\n  next: gpurun status, which tells what is left running\n"
    )


def _without_values(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The command line with the values of `--env NAME=VALUE` hidden, and those values, the longest first."""
    shown: list[str] = []
    values: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before != "--env" and not word.startswith("--env="):
            shown.append(word)
            continue
        lead = "" if before == "--env" else "--env="
        name, equals, value = word.removeprefix(lead).partition("=")
        # Without a name, the whole may be a value that was meant for one.
        shown.append(f"{lead}{name}={_HIDDEN}" if equals else f"{lead}{_HIDDEN}")
        values.append(value if equals else name)
    return shown, sorted((each for each in values if len(each) >= _SHORTEST_TO_HIDE), key=len, reverse=True)


def _save(text: str) -> str:
    """Into a new file of its own that only the user can read (mode 0600); its path."""
    home = state_home()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    number, path = tempfile.mkstemp(prefix=f"crash-{stamp}-", suffix=".txt", dir=home)
    with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return path
