"""An agent of the user's own launchd on macOS (launchd.plist(5), launchctl(1))."""

from __future__ import annotations

import os
import plistlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from launcher.errors import GpurunError, SpecError
from launcher.schedule.timer import placing, program, script
from launcher.schedule.timer.entry import Entry
from launcher.schedule.timer.plan import MARK, File, Found, Plan

LABEL = "gpurun.schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launchd:
    """A plist in one folder, and the launchd that reads it."""

    kind: ClassVar[str] = "launchd"
    folder: Path

    def trouble(self) -> str:
        """Why it cannot be used here; empty where it can."""
        if shutil.which("launchctl") is None:
            return "there is no launchctl"
        return "" if _domain() else f"launchd has no domain for user {os.getuid()}"

    def plan(self, entry: Entry) -> Plan:
        """One agent, and what loads it."""
        ran = script.file(entry, self.kind, logs=True)
        agent = {
            "Label": LABEL,
            "ProgramArguments": ["/bin/sh", str(ran.path)],
            "StartInterval": 60 * entry.every_min,
            "RunAtLoad": True,
            # Each run that a pass begins has a process of its own, which lives on when the pass is over.
            "AbandonProcessGroup": True,
        }
        domain = _domain() or f"gui/{os.getuid()}"
        return Plan(
            kind=self.kind,
            script=ran,
            files=(File(path=self._plist, content=_marked(plistlib.dumps(agent))),),
            commands=(("launchctl", "bootstrap", domain, str(self._plist)),),
        )

    def found(self) -> Found | None:
        """Our agent, as its file tells it."""
        agent = self._read()
        if agent is None:
            return None
        return Found(
            kind=self.kind,
            where=str(self._plist),
            script=Path(agent["ProgramArguments"][1]),
            every_min=max(1, int(agent["StartInterval"]) // 60),
        )

    def in_force(self, plan: Plan) -> bool:
        """Whether it is there already, to the byte, and loaded."""
        return placing.current(plan.all_files) and _loaded()

    def install(self, plan: Plan) -> None:
        """Write, load, and see launchd say so; raises `SpecError`, everything being as before."""
        before = self.found()
        try:
            with placing.placed(plan.all_files):
                script.try_out(plan.script.path)
                _load(plan)
        except BaseException:
            with suppress(GpurunError):
                _unload()
                if before is not None:
                    program.ask(*plan.commands[-1])
            raise

    def remove(self, found: Found) -> tuple[str, ...]:
        """Unload the agent and take its file away; gives what was removed. Raises `SpecError` for one that stays."""
        if shutil.which("launchctl"):
            _unload()
            if _loaded():
                raise SpecError(f"launchd keeps {LABEL}", hint=f"launchctl bootout {_domain()}/{LABEL}")
        self._plist.unlink(missing_ok=True)
        return (str(self._plist), *script.remove(found.script))

    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it."""
        return ("launchd runs it while you are logged in; what was due meanwhile is made up for as --missed says",)

    def next(self) -> tuple[str, ...]:
        """What to look at."""
        return (f"launchctl print {_domain() or f'gui/{os.getuid()}'}/{LABEL}",)

    @property
    def _plist(self) -> Path:
        return self.folder / f"{LABEL}.plist"

    def _read(self) -> dict[str, Any] | None:
        if not script.is_ours(self._plist):
            return None
        agent = plistlib.loads(self._plist.read_bytes())
        return agent if isinstance(agent, dict) else None


def place() -> Path:
    """Where a user's agents lie."""
    return Path.home() / "Library" / "LaunchAgents"


def _marked(plist: bytes) -> bytes:
    return plist.replace(b"<plist", f"<!-- {MARK} -->\n<plist".encode(), 1)


def _domain() -> str:
    """The user's session on the screen, else what a login from afar has; empty where launchd knows neither."""
    known = (f"gui/{os.getuid()}", f"user/{os.getuid()}")
    return next((each for each in known if program.ask("launchctl", "print", each).status == 0), "")


def _loaded() -> bool:
    return program.ask("launchctl", "print", f"{_domain()}/{LABEL}").status == 0


def _load(plan: Plan) -> None:
    _unload()
    for command in plan.commands:
        program.must(*command)
    if not _loaded():
        raise SpecError("launchd did not take the agent", hint="gpurun schedule install --with crontab")


def _unload() -> None:
    """Harmless where it is not loaded."""
    program.ask("launchctl", "bootout", f"{_domain()}/{LABEL}")
