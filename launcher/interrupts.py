"""Signals while a run is attended: raised where that is safe, remembered where it is not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class HangUp(BaseException):
    """The terminal went away: go on without it."""


class StopAsked(BaseException):
    """SIGTERM: end the run, as tidily as time allows."""


class Signals:
    """One handler for all of an attended run.

    A signal that the process was started to ignore (nohup, a background job) stays ignored. Within `raised` a signal
    is raised as an exception; elsewhere it waits for the next such block: between two statements of an attendance
    there is no moment in which it would kill the launcher with a machine in its hands.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._why = ""
        self._raising = False
        self._installed = False
        self._pending: int | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block the signals are ours; a block within a block changes nothing."""
        if self._installed:
            yield
            return
        mine = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in mine}
        self._installed = True
        try:
            yield
        finally:
            self._installed = False
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Within the block a signal is raised: KeyboardInterrupt, `StopAsked` or `HangUp`; one that waits, at once."""
        try:
            self._raising = True
            self._deliver()
            yield
        finally:
            self._raising = False

    @contextmanager
    def held(self, why: str = "") -> Iterator[None]:
        """Within the block signals wait; whoever sends one is told `why`. Other threads than the main one get none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = self._raising, self._why
        self._raising, self._why = False, why
        try:
            with self.installed():
                yield
        finally:
            self._raising, self._why = before
        if self._raising:
            self._deliver()

    def _deliver(self) -> None:
        number, self._pending = self._pending, None
        if number is not None:
            self._raise(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._raising:
            self._raise(number)
        self._pending = number
        if self._why:
            self._told(self._why)

    def _raise(self, number: int) -> None:
        # Once: whoever handles it must not be broken into.
        self._raising = False
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise StopAsked if number == signal.SIGTERM else HangUp
