"""A host whose clock is wrong: every program in it sees another hour, and none waits longer for it."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest

AHEAD_S = 300.0
SLACK_S = 20.0

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@pytest.mark.parametrize("ahead_s", [AHEAD_S, -AHEAD_S])
def test_every_program_of_the_host_has_the_wrong_time(isolating: Any, ahead_s: float) -> None:
    booted = isolating.boot({"bootcmd": [["sh", "-c", "date +%s > /var/tmp/booted"]]}, clock_ahead_s=ahead_s).wait()
    python = "python3 -c 'import time; print(int(time.time()))'"
    for command in ("date +%s", "bash -lc 'date +%s'", "env -i /bin/date +%s", python, "cat /var/tmp/booted"):
        assert abs(int(booted.out(command)) - time.time() - ahead_s) < SLACK_S, command


def test_waiting_takes_as_long_as_ever(isolating: Any) -> None:
    booted = isolating.boot(clock_ahead_s=AHEAD_S).wait()
    code = (
        "import threading, time, select, subprocess; began = time.monotonic(); threading.Event().wait(0.2); "
        "threading.Lock().acquire(timeout=0.2); c = threading.Condition(); c.acquire(); c.wait(0.2); time.sleep(0.2); "
        'subprocess.run(["sleep", "0.2"], timeout=5); print(time.monotonic() - began)'
    )
    assert 0.7 < float(booted.out(f"timeout 20 python3 -c '{code}'")) < 5


def test_a_host_with_the_right_clock_has_nothing_of_it(isolating: Any) -> None:
    booted = isolating.boot().wait()
    assert booted.ssh("test -e /etc/ld.so.preload ").returncode != 0
    assert abs(int(booted.out("date +%s")) - time.time()) < SLACK_S
