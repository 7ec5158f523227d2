"""A timer of the user's own systemd manager (systemd.timer(5), systemd.service(5), systemctl(1))."""

from __future__ import annotations

import getpass
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from launcher.errors import GpurunError, SpecError
from launcher.schedule.timer import placing, program, script
from launcher.schedule.timer.entry import Entry
from launcher.schedule.timer.plan import MARK, File, Found, Plan

SERVICE = "gpurun-schedule.service"
TIMER = "gpurun-schedule.timer"
WANTED_BY = "timers.target"
_SERVICE = """\
# {mark}
[Unit]
Description=One pass over the schedules of gpurun

[Service]
Type=oneshot
# Each run that a pass begins has a process of its own, which lives on when the pass is over. systemd lets it: at the
# next start it says "Found left-over process ... Ignoring", and means it.
KillMode=process
TimeoutStartSec=1h
ExecStart=/bin/sh {script}
"""
_TIMER = """\
# {mark}
[Unit]
Description=Passes over the schedules of gpurun, every {minutes}

[Timer]
OnCalendar=*:0/{every}
AccuracySec=5s

[Install]
WantedBy={target}
"""
_COMMANDS = (
    ("systemctl", "--user", "daemon-reload"),
    ("systemctl", "--user", "enable", TIMER),
    ("systemctl", "--user", "restart", TIMER),
)
_EXEC = re.compile(r'^ExecStart=/bin/sh "(.*)"$', re.MULTILINE)
_EVERY = re.compile(r"^OnCalendar=\*:0/(\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemd:
    """Unit files in one folder, and the manager that reads them."""

    kind: ClassVar[str] = "systemd"
    folder: Path

    def trouble(self) -> str:
        """Why it cannot be used here; empty where it can."""
        if shutil.which("systemctl") is None:
            return "there is no systemctl"
        answer = program.ask("systemctl", "--user", "show", "--property=Version")
        return "" if answer.status == 0 else f"the user's systemd manager does not answer: {answer.why}"

    def plan(self, entry: Entry) -> Plan:
        """Two units, and what puts them in force."""
        ran = script.file(entry, self.kind, logs=False)
        minutes = "minute" if entry.every_min == 1 else f"{entry.every_min} minutes"
        service = _SERVICE.format(mark=MARK, script=quoted(str(ran.path)))
        timer = _TIMER.format(mark=MARK, every=entry.every_min, minutes=minutes, target=WANTED_BY)
        units = {SERVICE: service, TIMER: timer}
        files = tuple(File(path=self.folder / name, content=text.encode()) for name, text in units.items())
        return Plan(kind=self.kind, script=ran, files=files, commands=_COMMANDS)

    def found(self) -> Found | None:
        """Our timer, as its files tell it."""
        service, timer = self.folder / SERVICE, self.folder / TIMER
        if not script.is_ours(timer) and not script.is_ours(service):
            return None
        started = _EXEC.search(_text(service))
        every = _EVERY.search(_text(timer))
        return Found(
            kind=self.kind,
            where=str(timer),
            script=Path(unquoted(started[1])) if started else service,
            every_min=int(every[1]) if every else 1,
        )

    def in_force(self, plan: Plan) -> bool:
        """Whether it is there already, to the byte, and ticks."""
        return placing.current(plan.all_files) and not self._problem()

    def install(self, plan: Plan) -> None:
        """Write, enable, start, and see the manager say so; raises `SpecError`, everything being as before."""
        before = self.found()
        try:
            with placing.placed(plan.all_files):
                script.try_out(plan.script.path)
                self._put_in_force(plan)
        except BaseException:
            self._recover(there_before=before is not None)
            raise

    def remove(self, found: Found) -> tuple[str, ...]:
        """Stop the timer and take its files away; gives what was removed. Raises `SpecError` for one that goes on."""
        if not self.trouble():
            answer = program.ask("systemctl", "--user", "disable", "--now", TIMER)
            if self._state().get("ActiveState") == "active":
                raise SpecError(f"{TIMER} cannot be stopped: {answer.why}", hint=f"systemctl --user stop {TIMER}")
        ours = [each for each in (self.folder / TIMER, self.folder / SERVICE) if script.is_ours(each)]
        for each in (*ours, self._link):
            each.unlink(missing_ok=True)
        self._reload()
        return (*map(str, ours), *script.remove(found.script))

    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it."""
        if self.trouble():
            return ("the user's systemd manager does not answer: if it runs, `systemctl --user daemon-reload`",)
        user = getpass.getuser()
        if lingers(user):
            return ()
        return (f"the timer ends when you log out, until you log in again; to keep it: loginctl enable-linger {user}",)

    def next(self) -> tuple[str, ...]:
        """What to look at."""
        return (f"systemctl --user list-timers {TIMER}", f"journalctl --user -u {SERVICE}")

    @property
    def _link(self) -> Path:
        return self.folder / f"{WANTED_BY}.wants" / TIMER

    def _problem(self) -> str:
        """What is missing; empty where the manager has this very timer loaded, enabled and waiting."""
        state = self._state()
        place = self.folder / TIMER
        if not state.get("FragmentPath") or Path(state["FragmentPath"]).resolve() != place.resolve():
            return f"the user's systemd manager does not read {place}: it has {state.get('FragmentPath') or 'no timer'}"
        if (state.get("UnitFileState"), state.get("ActiveState")) != ("enabled", "active"):
            return f"{TIMER} is {state.get('UnitFileState')} and {state.get('ActiveState')}, not enabled and active"
        return ""

    def _state(self) -> dict[str, str]:
        asked = "--property=FragmentPath,UnitFileState,ActiveState"
        said = program.ask("systemctl", "--user", "show", asked, TIMER).stdout.decode(errors="replace")
        return {name: value for name, _, value in (line.partition("=") for line in said.splitlines())}

    def _put_in_force(self, plan: Plan) -> None:
        for command in plan.commands:
            program.must(*command)
        if problem := self._problem():
            raise SpecError(problem, hint="gpurun schedule install --with crontab")

    def _recover(self, *, there_before: bool) -> None:
        """After a failure the files are as before; so is to be what the manager made of them."""
        with suppress(GpurunError, OSError):
            if not there_before:
                program.ask("systemctl", "--user", "stop", TIMER)
                self._link.unlink(missing_ok=True)
        self._reload()
        with suppress(GpurunError):
            if there_before:
                program.ask("systemctl", "--user", "restart", TIMER)

    def _reload(self) -> None:
        with suppress(GpurunError, OSError):
            program.ask("systemctl", "--user", "daemon-reload")


def _text(unit: Path) -> str:
    return unit.read_text(errors="replace") if unit.is_file() else ""


def place() -> Path:
    """Where a user's units lie (systemd.unit(5)); the XDG specification ignores relative paths."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "systemd" / "user"


def quoted(argument: str) -> str:
    """One argument of ExecStart (systemd.service(5), "Command lines"): quotes, then specifiers, then variables."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def unquoted(inner: str) -> str:
    """What was between the quotes."""
    return re.sub(r"\\(.)|(%)%|(\$)\$", lambda found: found[1] or found[2] or found[3], inner)


def lingers(user: str) -> bool:
    """Whether the user's manager goes on without a session (loginctl(1), enable-linger)."""
    with suppress(GpurunError, OSError):
        answer = program.ask("loginctl", "show-user", user, "--property=Linger", "--value")
        if answer.status == 0:
            return answer.stdout.strip() == b"yes"
    return Path("/var/lib/systemd/linger", user).exists()
