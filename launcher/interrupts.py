"""Signals as exceptions: what a user or the system wants while a run is attended."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class HangUp(BaseException):
    """The terminal went away: go on without it."""


class StopAsked(BaseException):
    """SIGTERM: end the run, as tidily as time allows."""


def _raise_hang_up(_signum: int, _frame: FrameType | None) -> None:
    raise HangUp


def _raise_stop(_signum: int, _frame: FrameType | None) -> None:
    raise StopAsked


@contextmanager
def as_exceptions() -> Iterator[None]:
    """Within the block SIGTERM raises `StopAsked` and SIGHUP `HangUp`; SIGINT is Python's KeyboardInterrupt."""
    wanted = {signal.SIGTERM: _raise_stop, signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = _raise_hang_up
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred(told: Callable[[str], None]) -> Iterator[None]:
    """Within the block no signal breaks in: a half-done teardown is what costs money. The first one is answered."""

    def answer(_signum: int, _frame: FrameType | None) -> None:
        told("already ending the machine; this takes seconds and is not interrupted")

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, answer) for number in numbers}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
