from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from launcher.domain import JobUsage
from launcher.sync.usage import time_lines


def usage(**changes: float) -> JobUsage:
    values: dict[str, float] = {
        "user_s": 12.346, "system_s": 0.5, "elapsed_s": 20.0, "max_rss_kib": 512_000, "major_faults": 3,
        "minor_faults": 4, "inputs": 5, "outputs": 6,
    }  # fmt: skip
    return JobUsage(**{**values, **changes})  # type: ignore[arg-type]


def test_the_lines_are_those_of_gnu_time() -> None:
    assert time_lines(usage()) == [
        "12.35user 0.50system 0:20.00elapsed 64%CPU (0avgtext+0avgdata 512000maxresident)k",
        "5inputs+6outputs (3major+4minor)pagefaults 0swaps",
    ]


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [(0.007, "0:00.00"), (59.999, "0:59.99"), (61.5, "1:01.50"), (3600, "1:00:00"), (7384.9, "2:03:04")],
)
def test_elapsed_reads_as_a_clock(seconds: float, clock: str) -> None:
    assert f" {clock}elapsed " in time_lines(usage(elapsed_s=seconds))[0]


def test_no_time_is_no_percentage() -> None:
    assert "?%CPU" in time_lines(usage(elapsed_s=0.0))[0]


def test_the_form_is_the_real_programs() -> None:
    program = shutil.which("time")
    if program is None:
        pytest.skip("GNU time is not on this machine")
    real = subprocess.run([program, "true"], capture_output=True, text=True, check=True).stderr.splitlines()
    for ours, theirs in zip(time_lines(usage()), real, strict=True):
        assert re.sub(r"\d+", "0", ours).replace("?", "0") == re.sub(r"\d+", "0", theirs).replace("?", "0")
