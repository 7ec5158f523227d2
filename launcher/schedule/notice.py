"""Telling people what became of a retraining: on a desktop, by mail, in a chat, by a webhook; apprise knows how.

An address is a secret (it holds tokens and passwords): nobody shows more of it than its kind.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.errors import GpurunError, SpecError
from launcher.ledger import TickStatus
from launcher.schedule import wish

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from launcher.ledger import ScheduleRecord, TickRecord

INSTALL = "pip install 'gpurun-launcher[notify]'"
KINDS = "https://github.com/caronc/apprise lists the kinds: mailto://, slack://, json://, .."
MISFORTUNES = {TickStatus.FAILED: "failed", TickStatus.MISSED: "missed"}


def check(addresses: Iterable[str]) -> None:
    """See that each can be sent to, without sending; raises `SpecError`, also where apprise is missing."""
    for address in addresses:
        with _quiet():
            known = _apprise().Apprise().add(address)
        if not known:
            raise SpecError(f"--notify {masked(address)} is no address that apprise knows", hint=KINDS)


def masked(address: str) -> str:
    """Its kind alone."""
    kind, colon, _ = address.partition("://")
    return f"{kind[:30]}://****" if colon else "****"


def tell(schedule: ScheduleRecord, event: str, what: str, next_step: str) -> list[str]:
    """Tell all whom the schedule names; gives what went wrong, and raises nothing: a notice is never a tick's end."""
    title = f"gpurun: {schedule.name}: {event}"
    body = "\n".join((what, f"next: {next_step}"))
    return [
        f"the notice to {masked(address)} was not sent: {why}"
        for address in wish.notify(schedule)
        if (why := _send(address, title, body))
    ]


def tell_misfortunes(schedules: Iterable[ScheduleRecord], ticks: Iterable[TickRecord]) -> list[str]:
    """Tell of what a pass found missed, or failed without a process of its own; gives and raises as `tell` does."""
    named = {schedule.name: schedule for schedule in schedules}
    return [
        trouble
        for tick in ticks
        if tick.status in MISFORTUNES and tick.schedule in named
        for trouble in tell(
            named[tick.schedule],
            MISFORTUNES[tick.status],
            tick.reason,
            f"gpurun schedule history {tick.schedule}",
        )
    ]


def _send(address: str, title: str, body: str) -> str:
    """Why it was not sent; empty where it was."""
    try:
        with _quiet():
            sender = _apprise().Apprise()
            if not sender.add(address):
                return "apprise does not know its kind"
            return "" if sender.notify(title=title, body=body) else "it was not taken"
    except GpurunError as error:
        return f"{error.message}: {error.hint}"
    except Exception as error:  # noqa: BLE001 - a plugin for one of a hundred services: whatever it is, the tick goes on
        return type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """What apprise logs may hold more of an address than is anybody's business; what its modules warn of is its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _apprise().LogCapture():
            yield


def _apprise() -> ModuleType:
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        raise SpecError("notices need the package apprise, which is not installed", hint=INSTALL) from error
    module: ModuleType = apprise
    return module
