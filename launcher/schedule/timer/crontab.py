"""A line in the user's crontab (crontab(1), crontab(5)); all other lines stay as they are, to the byte."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from launcher.errors import SpecError
from launcher.schedule.timer import placing, program, script
from launcher.schedule.timer.entry import Entry
from launcher.schedule.timer.plan import Found, Plan

MARK = b"# gpurun-schedule: gpurun schedule uninstall removes this line"
WHERE = "the crontab"
LONGEST_LINE_BYTES = 990
"""Vixie's cron reads a thousand characters of a command and no more."""
_NONE = re.compile(r"no crontab for |can't open .*: No such file", re.IGNORECASE)
"""What crontab -l says, in the C locale, of a user who has none: Vixie's, cronie's and macOS's; busybox's."""
_DAEMONS = {"cron", "crond", "fcron", "dcron", "bcron-sched"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crontab:
    """The crontab of the user who calls."""

    kind: ClassVar[str] = "crontab"

    def trouble(self) -> str:
        """Why it cannot be used here; empty where it can."""
        if shutil.which("crontab") is None:
            return "there is no crontab"
        try:
            listed()
        except SpecError as error:
            return error.message
        return ""

    def plan(self, entry: Entry) -> Plan:
        """One line; raises `SpecError` where cron could not read it whole."""
        ran = script.file(entry, self.kind, logs=True)
        line = line_for(ran.path, entry.every_min)
        if len(line) > LONGEST_LINE_BYTES:
            raise SpecError(
                f"the line for the crontab has {len(line)} bytes, and cron reads {LONGEST_LINE_BYTES}",
                hint="set XDG_STATE_HOME to a folder with a shorter name, and add the schedules there",
            )
        return Plan(kind=self.kind, script=ran, files=(), line=line, commands=(("crontab", "-"),))

    def found(self) -> Found | None:
        """Our line; raises `SpecError` where the crontab cannot be read."""
        if shutil.which("crontab") is None:
            return None
        ours = [line for line in listed().splitlines() if is_ours(line)]
        if not ours:
            return None
        words = _words(ours[0])
        every = words[0].removeprefix("*/")
        return Found(
            kind=self.kind,
            where=WHERE,
            script=Path(words[-1]),
            every_min=int(every) if every.isdecimal() else 1,
        )

    def in_force(self, plan: Plan) -> bool:
        """Whether it is there already, to the byte."""
        before = read()
        return placing.current(plan.all_files) and with_line(before, plan.line) == before

    def install(self, plan: Plan) -> None:
        """Write the line and read it back; raises `SpecError`, everything being as before."""
        with placing.placed(plan.all_files):
            script.try_out(plan.script.path)
            before = read()
            _change(before, with_line(before, plan.line))

    def remove(self, found: Found) -> tuple[str, ...]:
        """Take the line out, and the script away; gives what was removed."""
        before = read()
        _change(before, without(before))
        return (found.where, *script.remove(found.script))

    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it."""
        if _daemon_seen():
            return ()
        return ("no cron daemon is seen here, and without one nobody reads the crontab: sudo service cron start",)

    def next(self) -> tuple[str, ...]:
        """What to look at."""
        return ("crontab -l",)


def line_for(ran: Path, every_min: int) -> bytes:
    """The line, without its end."""
    when = "*" if every_min == 1 else f"*/{every_min}"
    return os.fsencode(f"{when} * * * * /bin/sh {quoted(str(ran))} ") + MARK


def quoted(argument: str) -> str:
    """One argument for cron and then for sh.

    cron ends a command at `%` unless there is a backslash before it; some crons take that backslash away, some do not,
    and outside of quotes sh makes the same of both.
    """
    return "'" + argument.replace("'", "'\\''").replace("%", "'\\%'") + "'"


def is_ours(line: bytes) -> bool:
    """Whether a line was written by an installation."""
    return line.rstrip(b"\r\n").endswith(MARK)


def with_line(text: bytes, line: bytes) -> bytes:
    """The crontab with our line, where it was before or else on top: what follows it needs no end of line."""
    lines = _lines(text)
    at = next((number for number, each in enumerate(lines) if is_ours(each)), 0)
    others = [each for each in lines[at:] if not is_ours(each)]
    return b"".join([*lines[:at], line + b"\n", *others])


def without(text: bytes) -> bytes:
    """The crontab without our line."""
    return b"".join(each for each in _lines(text) if not is_ours(each))


def read() -> bytes:
    """The crontab to the byte; empty where there is none. Raises `SpecError` where that is not sure: it would be lost.

    Debian's `crontab -l` writes carriage returns and backspaces as `\\r` and `\\b`, as it would those two letters.
    """
    shown = listed()
    if b"\\r" not in shown and b"\\b" not in shown:
        return shown
    meant = _edited()
    if shown in (meant, meant.replace(b"\r", b"\\r").replace(b"\b", b"\\b")):
        return meant
    raise SpecError(
        "crontab -l and crontab -e show different crontabs",
        hint="take the lines with \\r or \\b out of it, or keep the time with gpurun schedule daemon",
    )


def listed() -> bytes:
    """What crontab -l shows; raises as `read` does."""
    answer = program.ask("crontab", "-l")
    if answer.status == 0:
        return answer.stdout
    if _NONE.search(answer.stderr):
        return b""
    raise SpecError(
        f"the crontab cannot be read: {answer.why}",
        hint="ask who administers this machine, or keep the time with gpurun schedule daemon",
    )


def _edited() -> bytes:
    """The crontab as crontab -e hands it to an editor, which here takes a copy and changes nothing."""
    with tempfile.TemporaryDirectory(prefix="gpurun-crontab-") as folder:
        copy, editor = Path(folder, "copy"), Path(folder, "editor")
        code = "import shutil, sys; shutil.copyfile(sys.argv[2], sys.argv[1])"
        words = (sys.executable, "-IS", "-c", code, str(copy))
        editor.write_bytes(os.fsencode(f'#!/bin/sh\nexec {shlex.join(words)} "$1"\n'))
        editor.chmod(0o700)
        called = shlex.quote(str(editor))
        program.must("crontab", "-e", environment={"VISUAL": called, "EDITOR": called})
        return copy.read_bytes()


def _change(before: bytes, wanted: bytes) -> None:
    """Replace the crontab and read it back; one that came out otherwise is put back as it was."""
    if wanted == before:
        return
    _write(wanted)
    after = read()
    if not after.endswith(wanted):  # some crons show a head of their own above it
        with suppress(SpecError):
            _write(before)
        raise SpecError(
            "the crontab did not come out as it was written, and was put back",
            hint="crontab -l shows it; gpurun schedule daemon keeps the time without it",
        )


def _write(content: bytes) -> None:
    if content:
        program.must("crontab", "-", stdin=content)
    else:
        program.must("crontab", "-r")


def _lines(text: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", text)


def _words(line: bytes) -> list[str]:
    """Of our line; somebody may have had a hand in it."""
    text = os.fsdecode(line.rstrip(b"\r\n").removesuffix(MARK))
    try:
        return shlex.split(text) or [""]
    except ValueError:
        return [text]


def _daemon_seen() -> bool:
    """Whether a cron runs; where nobody can tell (no /proc), it is taken for granted: macOS starts its own."""
    names = Path("/proc").glob("[0-9]*/comm")
    seen = False
    for name in names:
        with suppress(OSError):
            seen = True
            if name.read_text().strip() in _DAEMONS:
                return True
    return not seen
