"""The figures of a transfer: formatting holds for whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import TransferProgress
from launcher.render.bar import bar, cells
from launcher.render.meter import WINDOW_S, Meter, summary
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


@given(
    ANY_PROGRESS,
    st.one_of(st.none(), st.floats(0, 1e12)),
    st.one_of(st.none(), st.floats(0, allow_nan=False)),
    st.integers(0, 250),
)
def test_a_bar_is_one_line_and_fits(
    now: TransferProgress, rate: float | None, left_s: float | None, width: int
) -> None:
    line = bar(now, rate=rate, left_s=left_s, width=width)
    assert cells(line) <= width
    assert line.isprintable()


@given(ANY_PROGRESS, st.floats(0, 1e9))
def test_a_summary_is_one_line_with_no_nonsense(now: TransferProgress, elapsed_s: float) -> None:
    line = summary(now, elapsed_s).removeprefix(now.label)
    assert "\n" not in line
    assert "-" not in line
    assert "nan" not in line
    assert "inf" not in line


@given(st.lists(st.tuples(ANY_PROGRESS, st.floats(0, 100)), min_size=1, max_size=20))
def test_a_rate_is_never_negative_nor_divides_by_nothing(steps: list[tuple[TransferProgress, float]]) -> None:
    now = 1000.0
    meter = Meter(steps[0][0], now)
    for step, pause_s in steps:
        now += pause_s
        meter.add(step, now)
        for look in (now, now + 0.3, now + 3 * WINDOW_S):
            assert (meter.rate(look) or 0) >= 0
            assert (meter.left_s(look) or 0) >= 0


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = Meter(progress(0, 1000 * MB), 0.0)
    assert meter.rate(0.0) is None
    for tick in range(1, 101):
        meter.add(progress(tick * MB, 1000 * MB), tick / 10)
    assert meter.rate(10.0) == pytest.approx(10 * MB, rel=0.05)
    assert meter.left_s(10.0) == pytest.approx(90, rel=0.05)
    for tick in range(1, 61):
        meter.add(progress(100 * MB + tick * 10 * MB, 1000 * MB), 10 + tick / 10)
    assert meter.rate(16.0) == pytest.approx(100 * MB, rel=0.05)
    # The line falls silent: the rate falls with it, and no time left is promised.
    assert meter.rate(18.0) == pytest.approx(60 * MB, rel=0.1)
    assert meter.rate(30.0) == 0
    assert meter.left_s(30.0) is None


def test_what_was_there_already_is_no_speed() -> None:
    meter = Meter(progress(0, 1000 * MB), 0.0)
    meter.add(progress(901 * MB, 1000 * MB, reused_bytes=900 * MB), 1.0)
    assert meter.rate(1.0) == pytest.approx(MB)
    assert meter.left_s(1.0) == pytest.approx(99)


def test_a_transfer_begun_again_is_measured_anew() -> None:
    meter = Meter(progress(0, 100 * MB), 0.0)
    meter.add(progress(80 * MB, 100 * MB), 1.0)
    meter.add(progress(1 * MB, 100 * MB), 2.0)
    meter.add(progress(3 * MB, 100 * MB), 3.0)
    assert meter.rate(3.0) == pytest.approx(2 * MB)
    assert meter.elapsed_s(3.0) == 3.0


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


def test_bars() -> None:
    now = progress(15_300_000, 34_100_000, done_files=365, total_files=812)
    line = bar(now, rate=12.3 * MB, left_s=2.4, width=119)
    assert line == (
        "          code   45 %  " + "━" * 10 + "─" * 14 + "  15.3/34.1 MB  365/812 files  12.3 MB/s  0:02 left"
    )
    assert bar(now, rate=12.3 * MB, left_s=2.4, width=39) == "code   45 %  15.3/34.1 MB  12.3 MB/s"
    assert bar(now, rate=12.3 * MB, left_s=2.4, width=12) == "code   45 %"
    assert bar(now, rate=12.3 * MB, left_s=2.4, width=0) == ""
    unknown = progress(15_300_000, 0, done_files=3, total_files=0)
    assert bar(unknown, rate=None, left_s=None, width=79) == "          code  15.3 MB  3 files"


def test_left_over_times() -> None:
    def left(seconds: float) -> str:
        return bar(progress(1, 2), rate=None, left_s=seconds, width=200).rpartition("  ")[2]

    assert [left(s) for s in (0.2, 59.6, 725, 11045, 400_000, 1e300)] == [
        "0:00 left",
        "1:00 left",
        "12:05 left",
        "3:04:05 left",
        "4 days left",
        "11574 days left",
    ]


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
