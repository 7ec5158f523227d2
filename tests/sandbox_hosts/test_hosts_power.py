"""What a guest's shutdown(8) line asks for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.sandbox.hosts.guest.power import CANCEL, POWER_OFF, REBOOT, parse_order

NOW_S = time.mktime((2026, 3, 4, 12, 30, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("line", "action", "in_s"),
    [
        ("shutdown", POWER_OFF, 60),
        ("shutdown now", POWER_OFF, 0),
        ("shutdown -h +5 gpurun: the deadline of this run", POWER_OFF, 300),
        ("shutdown -h 7", POWER_OFF, 420),
        ("shutdown -rf now", REBOOT, 0),
        ("shutdown --reboot +1", REBOOT, 60),
        ("shutdown -h 12:31", POWER_OFF, 60),
        ("shutdown -h 12:30", POWER_OFF, 86400),
        ("shutdown -c", CANCEL, 0),
        ("poweroff -f", POWER_OFF, 0),
        ("halt", POWER_OFF, 0),
        ("reboot", REBOOT, 0),
    ],
)
def test_knows_what_shutdown_takes(line: str, action: str, in_s: float) -> None:
    order = parse_order(line, now_s=NOW_S)
    assert order is not None
    assert (order.action, order.at_s - NOW_S) == (action, in_s)


@pytest.mark.parametrize("line", ["", "shutdown -k now", "shutdown soon", "shutdown 25:00", "rm -rf now"])
def test_does_nothing_on_what_it_does_not_know(line: str) -> None:
    assert parse_order(line, now_s=NOW_S) is None


WORDS = st.one_of(st.text(), st.sampled_from(["shutdown", "-h", "-r", "now", "+3", "23:59", "9:99", "--reboot"]))


@settings(deadline=None)
@given(st.lists(WORDS, max_size=4).map(" ".join))
def test_survives_any_line(line: str) -> None:
    order = parse_order(line, now_s=NOW_S)
    assert order is None or order.at_s >= NOW_S
