import os
import signal

import pytest

from launcher.interrupts import HangUp, Signals, StopAsked

RAISED = [(signal.SIGTERM, StopAsked), (signal.SIGHUP, HangUp), (signal.SIGINT, KeyboardInterrupt)]


@pytest.mark.parametrize(("number", "raised"), RAISED)
def test_signals_are_raised_and_handlers_put_back(number: int, raised: type[BaseException]):
    before = signal.getsignal(number)
    signals = Signals(print)
    with signals.installed(), pytest.raises(raised), signals.raised():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_signal_between_two_blocks_waits_for_the_next():
    signals = Signals(print)
    with signals.installed():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopAsked), signals.raised():
            pytest.fail("the signal was lost")


def test_what_is_held_is_not_broken_into_and_is_told_why():
    told: list[str] = []
    signals = Signals(told.append)
    with signals.held("ending the machine"):
        for number, _ in RAISED:
            os.kill(os.getpid(), number)
    assert told == ["ending the machine"] * 3


def test_a_signal_that_came_while_held_is_raised_right_after():
    signals = Signals(print)
    done = []

    def work() -> None:
        with signals.held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("whole")
        done.append("more")

    with signals.installed(), pytest.raises(KeyboardInterrupt), signals.raised():
        work()
    assert done == ["whole"]


def test_whoever_handles_a_signal_is_not_broken_into_by_the_next():
    signals = Signals(print)
    with signals.installed():
        with pytest.raises(KeyboardInterrupt), signals.raised():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopAsked), signals.raised():
            pass


def test_what_the_process_was_started_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals = Signals(print)
        with signals.installed(), signals.raised():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
