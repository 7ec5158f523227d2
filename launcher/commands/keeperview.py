"""Who keeps the time, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from launcher.schedule.timer.keeping import Keeping
    from launcher.schedule.timer.plan import Found

NOBODY = "nobody keeps the time: gpurun schedule install has this machine do it, gpurun schedule daemon a terminal"
NAMES = {"systemd": "a systemd timer", "crontab": "a line in the crontab", "launchd": "an agent of launchd"}


def text(kept: Keeping, now: datetime) -> str:
    """A line for each that keeps it, or should."""
    lines = [f"process {kept.daemon_pid}, the daemon, keeps the time"] if kept.daemon_pid is not None else []
    lines += [f"{named(each)} keeps the time{_pass(kept)}" for each in kept.entries]
    if kept.silent(now):
        lines.append("warning: it should have called by now; " + _look(kept))
    lines += [
        f"{named(each)} keeps the time of another state folder: {each.script.parent.parent}"
        if each.script.is_file()
        else f"warning: {named(each)} calls {each.script}, which is gone: gpurun schedule install mends it"
        for each in kept.elsewhere
    ]
    return "\n".join(lines if kept.anybody else [*lines, NOBODY])


def after_add(kept: Keeping, now: datetime) -> str:
    """What is to be done after a schedule was made; nothing, where somebody keeps the time."""
    return text(kept, now) if kept.anybody else f"  next: {NOBODY}"


def as_json(kept: Keeping) -> dict[str, Any]:
    """For programs."""
    return {
        "kept_by": {
            "daemon": kept.daemon_pid,
            "entries": [each.kind for each in kept.entries],
            "passed_at": kept.passed_at if kept.entries else None,
        }
    }


def named(found: Found) -> str:
    """An entry, as a person calls it."""
    every = "every minute" if found.every_min == 1 else f"every {found.every_min} minutes"
    return f"{NAMES[found.kind]}, {every},"


def _pass(kept: Keeping) -> str:
    from launcher import render

    return f"; it last called {render.age(kept.passed_at)} ago" if kept.passed_at else "; it has not called yet"


def _look(kept: Keeping) -> str:
    from launcher.schedule.timer import kinds

    return "look at: " + ", ".join(line for each in kept.entries for line in kinds.timer(each.kind).next())
