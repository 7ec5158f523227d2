"""Which of the machine's schedulers keeps the time, and which could."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import ClassVar, Protocol

from launcher.errors import SpecError
from launcher.paths import StatePaths
from launcher.schedule.timer import launchd, systemd
from launcher.schedule.timer.crontab import Crontab
from launcher.schedule.timer.entry import Entry
from launcher.schedule.timer.launchd import Launchd
from launcher.schedule.timer.plan import Found, Plan
from launcher.schedule.timer.systemd import Systemd

NAMES = ("systemd", "crontab", "launchd")


class Timer(Protocol):
    """One kind of scheduler; its commands raise `SpecError` with what its programs said."""

    kind: ClassVar[str]

    def trouble(self) -> str:
        """Why it cannot be used here; empty where it can."""

    def plan(self, entry: Entry) -> Plan:
        """All that an installation would write and run."""

    def found(self) -> Found | None:
        """Our entry where there is one; quick, and asks no service."""

    def in_force(self, plan: Plan) -> bool:
        """Whether all of it is there already."""

    def install(self, plan: Plan) -> None:
        """Write it, put it in force and read it back; where that fails everything is as before."""

    def remove(self, found: Found) -> tuple[str, ...]:
        """Take it away; gives what was removed."""

    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it on this machine."""

    def next(self) -> tuple[str, ...]:
        """Commands that show it."""


def timer(kind: str) -> Timer:
    """The scheduler of that name; raises `SpecError` for another."""
    if kind == "systemd":
        return Systemd(folder=systemd.place())
    if kind == "crontab":
        return Crontab()
    if kind == "launchd":
        return Launchd(folder=launchd.place())
    raise SpecError(f"--with {kind!r:.40}: {', '.join(NAMES)} are known", hint="leave --with out: one is found")


def usable(kind: str | None, state: StatePaths) -> Timer:
    """The one that is asked for, or the best that this machine has; raises `SpecError` where there is none.

    An entry of the same state folder is replaced by one of its own kind.
    """
    if kind is not None:
        chosen = timer(kind)
        if trouble := chosen.trouble():
            raise SpecError(f"--with {kind}: {trouble}", hint=_without(kind, trouble))
        return chosen
    candidates = [timer(each) for each in (("launchd", "crontab") if sys.platform == "darwin" else NAMES[:2])]
    troubles = []
    for each in sorted(candidates, key=lambda each: not _there(each, state)):
        trouble = each.trouble()
        if not trouble:
            return each
        troubles.append(f"{each.kind}: {trouble}")
    raise SpecError(
        f"this machine has no scheduler that could be used; {'; '.join(troubles)}",
        hint="gpurun schedule daemon keeps the time in a terminal or a container; or sudo apt-get install cron",
    )


def every() -> Iterator[Timer]:
    """All kinds, whatever this machine has."""
    return map(timer, NAMES)


def _there(candidate: Timer, state: StatePaths) -> bool:
    try:
        found = candidate.found()
    except SpecError:
        return False
    return found is not None and found.of(state)


def _without(kind: str, trouble: str) -> str:
    if kind == "systemd" and "does not answer" in trouble:
        return "log in as that user (ssh or machinectl shell, not su or sudo), or --with crontab"
    return "leave --with out: what this machine has is found; or gpurun schedule daemon"
