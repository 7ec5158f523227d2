"""A leg's figures are those of GNU time: both look at one and the same execution."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sync.transfer.legs import leg, record, run

GNU_TIME = Path("/usr/bin/time")
PROGRAM = """
import mmap, time
pages = mmap.mmap(-1, 200 << 20)
pages.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, 200 << 20, mmap.PAGESIZE):
    pages[at] = 1
for _ in range(3):
    with open("/dev/zero", "rb") as zeros:
        zeros.read(64 << 20)
end = time.process_time() + 2.0
while time.process_time() < end:
    pass
time.sleep(0.3)
"""
"""Some 3 s: 200 MiB in 51,200 pages, touched one by one, then memory that the kernel fills, then figures, then rest."""
SHARE = 0.02
TICK_S = 0.01
"""What GNU time rounds to."""

needs_time = pytest.mark.skipif(not GNU_TIME.exists(), reason="GNU time is not installed: /usr/bin/time")


def figures(text: str) -> dict[str, float]:
    """What `time -v` told, in the names of a record."""
    rows = dict(line.strip().rsplit(": ", 1) for line in text.splitlines() if ": " in line)
    clock = [float(part) for part in rows["Elapsed (wall clock) time (h:mm:ss or m:ss)"].split(":")]
    return {
        "user_s": float(rows["User time (seconds)"]),
        "system_s": float(rows["System time (seconds)"]),
        "elapsed_s": sum(part * 60**place for place, part in enumerate(reversed(clock))),
        "max_rss_kib": float(rows["Maximum resident set size (kbytes)"]),
        "minor_faults": float(rows["Minor (reclaiming a frame) page faults"]),
        "major_faults": float(rows["Major (requiring I/O) page faults"]),
        "percent": float(rows["Percent of CPU this job got"].rstrip("%")),
    }


@needs_time
def test_a_legs_figures_agree_with_gnu_time(connection: Any, layout: Any, job: Any) -> None:
    command = (str(GNU_TIME), "-v", sys.executable, "-c", PROGRAM)
    report, log = run(connection, layout, job(legs=[leg("a", argv=command)], repeats=2))
    assert report.exit_status == 0, log
    told = re.findall(r"\tCommand being timed.*?\tExit status: 0", log, re.DOTALL)
    assert len(told) == 2
    for repeat, text in enumerate(told, 1):
        expected, found = figures(text), dict(record(connection, layout, "a", repeat)["usage"])
        found["percent"] = 100 * (found["user_s"] + found["system_s"]) / found["elapsed_s"]
        assert expected["minor_faults"] > 51_200
        assert expected["elapsed_s"] > 2.2
        for what in ("user_s", "system_s", "elapsed_s"):
            assert found[what] == pytest.approx(expected[what], rel=SHARE, abs=TICK_S), (what, expected, found)
        for what in ("max_rss_kib", "minor_faults"):
            assert found[what] == pytest.approx(expected[what], rel=SHARE), (what, expected, found)
        assert found["percent"] == pytest.approx(expected["percent"], rel=SHARE, abs=1)
        assert abs(found["major_faults"] - expected["major_faults"]) <= max(5, SHARE * expected["major_faults"])


@needs_time
def test_a_small_command_is_measured_without_what_started_it(connection: Any, layout: Any, job: Any) -> None:
    command = (sys.executable, "-S", "-c", "import time; time.sleep(0.2)")
    legs = [leg("plain", argv=command), leg("timed", argv=(str(GNU_TIME), "-v", *command))]
    _, log = run(connection, layout, job(legs=legs))
    expected, found = figures(log), record(connection, layout, "plain")["usage"]
    assert found["max_rss_kib"] == pytest.approx(expected["max_rss_kib"], rel=0.05)
    # GNU time counts some of its own before it becomes the command; no two executions are quite alike.
    assert found["minor_faults"] == pytest.approx(expected["minor_faults"], abs=40)
    assert found["major_faults"] == pytest.approx(expected["major_faults"], abs=5)
