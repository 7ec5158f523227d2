"""The figures of a transfer: formatting holds for whatever comes."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from launcher.domain import TransferProgress
from launcher.render.bar import RATE_OVER_S, Bar
from launcher.render.meter import Meter, summary
from launcher.render.transfers import Transfers

MB = 10**6


def progress(done: int, total: int, **more: object) -> TransferProgress:
    values: dict[str, object] = {
        "label": "code",
        "done_bytes": done,
        "total_bytes": total,
        "done_files": 1,
        "total_files": 2,
    }
    return TransferProgress(**{**values, **more})  # type: ignore[arg-type]


FIGURES = st.integers(0, 1 << 60)
ANY_PROGRESS = st.builds(
    TransferProgress,
    label=st.text(max_size=80),
    done_bytes=FIGURES,
    total_bytes=FIGURES,
    done_files=FIGURES,
    total_files=FIGURES,
    sent_bytes=FIGURES,
    reused_bytes=FIGURES,
    connections=st.integers(0, 64),
)


class Drawn:
    """A bar by a clock of its own, as text without colours."""

    def __init__(self, first: TransferProgress, *, columns: int = 120) -> None:
        self.now = 1000.0
        self.meter = Meter(first, self.now)
        console = Console(
            file=io.StringIO(), width=columns, height=25, color_system=None, get_time=lambda: self.now, _environ={}
        )
        self.bar = Bar(console, self.meter)

    def after(self, pause_s: float, now: TransferProgress | None = None) -> str:
        self.now += pause_s
        self.meter.progress = now or self.meter.progress
        return self.bar.line()


def rate_and_left(line: str) -> tuple[str, str]:
    found = re.search(r"(\?|[\d.,]+ \w+/s) ([\d:-]+)$", line)
    assert found, line
    return found[1], found[2]


@settings(deadline=None)  # a busy machine is no fault of the bar's
@given(st.lists(st.tuples(ANY_PROGRESS, st.floats(0, 100)), min_size=1, max_size=8), st.integers(1, 250))
def test_a_bar_is_one_line_and_fits(steps: list[tuple[TransferProgress, float]], columns: int) -> None:
    drawn = Drawn(steps[0][0], columns=columns)
    for step, pause_s in steps:
        line = drawn.after(pause_s, step)
        assert cell_len(line) < columns
        assert line.isprintable()
        assert not re.search(r"-\d|nan|inf", line.removeprefix(" " * 10).removeprefix(step.label[:24]))


@given(ANY_PROGRESS, st.floats(0, 1e9))
def test_a_summary_is_one_line_with_no_nonsense(now: TransferProgress, elapsed_s: float) -> None:
    line = summary(now, elapsed_s).removeprefix(now.label)
    assert "\n" not in line
    assert "-" not in line
    assert "nan" not in line
    assert "inf" not in line


def test_the_rate_is_that_of_the_last_seconds() -> None:
    drawn = Drawn(progress(0, 1000 * MB))
    assert rate_and_left(drawn.after(0)) == ("?", "--:--")
    lines = [drawn.after(0.125, progress(tick * MB, 1000 * MB)) for tick in range(1, 101)]
    assert rate_and_left(lines[-1]) == ("8.0 MB/s", "01:53")
    lines = [drawn.after(0.125, progress(100 * MB + tick * 10 * MB, 1000 * MB)) for tick in range(1, 61)]
    assert rate_and_left(lines[-1]) == ("80.0 MB/s", "00:04")


def test_the_rate_falls_with_a_line_that_falls_silent() -> None:
    drawn = Drawn(progress(0, 1000 * MB))
    for tick in range(101):
        drawn.after(0.125, progress(tick * MB, 1000 * MB))
    lines = [drawn.after(0.5) for _ in range(11)]
    assert [rate_and_left(line)[0] for line in lines[1:8:2]] == ["6.4 MB/s", "4.8 MB/s", "3.2 MB/s", "1.6 MB/s"]
    assert rate_and_left(lines[-1]) == ("0 bytes/s", "--:--")
    drawn.after(3 * RATE_OVER_S, progress(101 * MB, 1000 * MB))
    assert rate_and_left(drawn.after(1, progress(111 * MB, 1000 * MB))) == ("10.0 MB/s", "01:29")


def test_what_was_there_already_is_no_speed() -> None:
    drawn = Drawn(progress(0, 1000 * MB))
    drawn.after(0)
    line = drawn.after(1, progress(901 * MB, 1000 * MB, reused_bytes=900 * MB))
    assert rate_and_left(line) == ("1.0 MB/s", "01:39")
    assert " 90% " in line


def test_a_transfer_begun_again_is_measured_anew() -> None:
    drawn = Drawn(progress(0, 100 * MB))
    drawn.after(0)
    drawn.after(1, progress(80 * MB, 100 * MB))
    assert rate_and_left(drawn.after(1, progress(1 * MB, 100 * MB))) == ("?", "--:--")
    drawn.after(1, progress(3 * MB, 100 * MB))
    line = drawn.after(1, progress(5 * MB, 100 * MB))
    assert rate_and_left(line) == ("2.0 MB/s", "00:48")
    assert "  5% " in line


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (
            progress(34_100_000, 34_100_000, done_files=812, sent_bytes=8_700_000, reused_bytes=3_000_000),
            "code: 812 files, 34.1 MB in 0.6 s (8.7 MB sent: compression saved 72 %, 3.0 MB were there already)",
        ),
        (progress(34_100_000, 0, done_files=1), "code: 1 file, 34.1 MB in 0.6 s"),
        (progress(5000, 5000, sent_bytes=5100), "code: 1 file, 5.0 kB in 0.6 s (5.1 kB sent)"),
        (progress(5000, 5000, reused_bytes=5000), "code: 1 file, 5.0 kB in 0.6 s (all of it was there already)"),
        (
            progress(5000, 5000, sent_bytes=90, reused_bytes=5000),
            "code: 1 file, 5.0 kB in 0.6 s (all of it was there already)",
        ),
        (progress(5000, 5000, sent_bytes=1000), "code: 1 file, 5.0 kB in 0.6 s (1.0 kB sent: compression saved 80 %)"),
        (progress(5000, 5000, reused_bytes=1000), "code: 1 file, 5.0 kB in 0.6 s (1.0 kB were there already)"),
        (progress(0, 0, done_files=0), "code: 0 files, 0 B in 0.6 s"),
    ],
)
def test_summaries(now: TransferProgress, line: str) -> None:
    assert summary(now, 0.6) == line


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (100, "          code  45% ━━━━━━━━━━╸              15.3/34.1 MB 365/812 files 12.3 MB/s 00:02"),
        (80, "          code  45% ━━━━       15.3/34.1 MB 365/812 files 12.3 MB/s 00:02"),
        (60, "code  45% 15.3/34.1 MB 365/812 files 12.3 MB/s 00:02"),
        (45, "code  45% 15.3/34.1 MB 12.3 MB/s 00:02"),
        (36, "code  45% 15.3/34.1 MB 12.3 MB/s"),
        (20, "code  45%"),
        (4, "cod"),
        (1, ""),
    ],
)
def test_a_bar_shows_what_there_is_room_for(columns: int, line: str) -> None:
    drawn = Drawn(progress(3_000_000, 34_100_000, total_files=812), columns=columns)
    drawn.after(0)
    assert drawn.after(1, progress(15_300_000, 34_100_000, done_files=365, total_files=812)) == line


def test_a_transfer_of_unknown_size_tells_what_it_has() -> None:
    drawn = Drawn(progress(3_000_000, 0, total_files=0), columns=60)
    drawn.after(0)
    line = drawn.after(1, progress(15_300_000, 0, done_files=3, total_files=0))
    assert line.split() == ["code", "━" * 10, "15.3/?", "MB", "3", "files", "12.3", "MB/s"]


def test_an_end_is_told_once_and_a_label_can_come_again() -> None:
    transfers = Transfers()
    begun, done = progress(1, 2), progress(2, 2, done_files=2)
    assert transfers.take(begun, 0.0) is transfers.take(begun, 1.0)
    assert transfers.first() is not None
    assert transfers.take(done, 2.0) is not None
    assert transfers.first() is None
    assert transfers.take(done, 2.1) is None
    again = transfers.take(begun, 10.0)
    assert again is not None
    assert again.elapsed_s(11.0) == 1.0


def test_what_broke_off_is_forgotten_and_what_had_no_known_end_is_over() -> None:
    transfers = Transfers()
    transfers.take(progress(1, 2), 0.0)
    unknown = transfers.take(progress(5, 0, label="data", total_files=0), 0.0)
    assert transfers.end() == [unknown]
    assert transfers.end() == []
