import os
import signal

import pytest

from launcher import interrupts


def _send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (signal.SIGTERM, interrupts.StopAsked),
        (signal.SIGHUP, interrupts.HangUp),
        (signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_signals_are_raised_and_handlers_put_back(number: int, raised: type[BaseException]):
    before = signal.getsignal(number)
    with pytest.raises(raised), interrupts.as_exceptions():
        _send(number)
    assert signal.getsignal(number) is before


def test_a_teardown_is_not_broken_into():
    told: list[str] = []
    with interrupts.deferred(told.append):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            _send(number)
    assert len(told) == 2
    assert "already ending" in told[0]
