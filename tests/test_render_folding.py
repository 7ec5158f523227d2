"""The job's log as a pipe gets it, and as a terminal gets it."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.render.escapes import Harmless
from launcher.render.folding import HELD_LIMIT_BYTES, JOIN_S, SHOW_EVERY_S, Folding

TOKENS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"10%", b"20%", b" ", b"\x1b[A", b"\x1b[K", "é".encode(), b"\xff", b"word", b"\x00"]
)


def folded(*blocks: bytes) -> bytes:
    """All of it, with no time passing."""
    folding = Folding()
    return b"".join(folding.feed(block, 0.0) for block in blocks) + folding.end()


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"no newline at the end", b"no newline at the end"),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"10%\r20%\r30%\rdone\nnext\n", b"done\nnext\n"),
        (b"10%\r20%\r30%\r\n", b"30%\r\n"),
        (b"\r10%\r20%\r30%\nnext\n", b"30%\nnext\n"),
        (b"\r10%\r20%\r30%", b"30%\n"),
        (b"10%\r20%\r", b"20%\n"),
        (b"\r 99%|##\r        \rdone\n", b"done\n"),
        (b"\n\n\n", b"\n\n\n"),
        (b"", b""),
    ],
)
def test_the_last_state_of_a_line_is_what_a_pipe_gets(log: bytes, shown: bytes) -> None:
    assert folded(log) == shown
    assert folded(*(log[at : at + 1] for at in range(len(log)))) == shown


def test_nested_bars_fold_too() -> None:
    # As tqdm draws a bar within a bar: a line down, the inner one, and up again.
    inner = b"".join(b"\n\r inner %d%%\x1b[A" % percent for percent in range(101))
    log = b"\r outer 0/2" + inner + b"\n\r            \r\x1b[A" + b"\r outer 1/2" + inner + b"\r outer 2/2\n"
    shown = folded(log)
    assert shown.count(b"inner") == 0
    assert [line for line in shown.split(b"\n") if b"outer" in line][-1].endswith(b"outer 2/2")
    assert shown.count(b"\n") <= 3
    assert folded(*(log[at : at + 1] for at in range(len(log)))) == shown


@given(st.lists(TOKENS, max_size=40), st.lists(st.integers(0, 120), max_size=8))
def test_however_it_is_cut_the_same_comes_out(tokens: list[bytes], cuts: list[int]) -> None:
    log = b"".join(tokens)
    at = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    blocks = [log[a:b] for a, b in itertools.pairwise(at)]
    assert folded(*blocks) == folded(log)


@given(st.binary(max_size=300).filter(lambda data: b"\r" not in data and b"\x1b" not in data))
def test_what_draws_nothing_anew_passes_byte_for_byte(data: bytes) -> None:
    assert folded(data) == data


@given(st.lists(TOKENS, max_size=40), st.lists(st.floats(0, 30), max_size=40))
def test_in_whatever_time_every_last_state_is_shown(tokens: list[bytes], pauses: list[float]) -> None:
    folding, now, shown = Folding(), 0.0, b""
    for index, token in enumerate(tokens):
        shown += folding.feed(token, now)
        now += pauses[index] if index < len(pauses) else 0.0
        shown += folding.tick(now)
    shown += folding.end()
    for line in folded(b"".join(tokens)).split(b"\n"):
        assert line.strip() in shown


def test_a_bar_that_goes_on_shows_itself_from_time_to_time() -> None:
    folding = Folding()
    out = [folding.feed(b"\r%d s" % second, float(second)) + folding.tick(second + 0.5) for second in range(36)]
    assert [shown for shown in out if shown] == [b"10 s\n", b"20 s\n", b"30 s\n"]
    assert folding.end() == b"35 s\n"


def test_a_job_that_hangs_in_a_bar_shows_where_and_only_once() -> None:
    folding = Folding()
    assert folding.feed(b"\r41%", 0.0) == b""
    assert folding.tick(SHOW_EVERY_S - 0.1) == b""
    assert folding.tick(SHOW_EVERY_S) == b"41%\n"
    assert folding.tick(5 * SHOW_EVERY_S) == b""
    assert folding.feed(b"\nafter\n", 100.0) == b"after\n"


def test_the_beginning_of_a_line_waits_a_moment_for_its_rest() -> None:
    folding = Folding()
    assert folding.feed(b"loading ... ", 0.0) == b""
    assert folding.waiting
    assert folding.tick(JOIN_S) == b"loading ... "
    assert not folding.waiting
    assert folding.feed(b"done\n", 60.0) == b"done\n"


def test_a_bar_after_the_beginning_of_its_line_was_shown_gets_a_line_of_its_own() -> None:
    folding = Folding()
    assert folding.feed(b"loading", 0.0) + folding.tick(JOIN_S) == b"loading"
    assert folding.feed(b"\r10%\r20%\n", 60.0) == b"\n20%\n"


def test_a_line_without_end_passes_and_is_not_held() -> None:
    folding = Folding()
    sizes = [len(folding.feed(b"x" * 100_000, 0.0)) for _ in range(100)]
    assert sum(sizes) >= 10_000_000 - HELD_LIMIT_BYTES
    bar = b"".join(folding.feed(b"\r%d%%" % number, 0.0) for number in range(100_000))
    assert len(bar) < 100
    assert folding.end() == b"\n99999%\n"


# --- on a terminal --------------------------------------------------------------------------------------------------


def harmless(*blocks: bytes) -> bytes:
    filter_ = Harmless()
    return b"".join(map(filter_.feed, blocks))


@pytest.mark.parametrize(
    "log",
    [
        b"plain\n\ttext\r\n",
        b"\x1b[1;31mred\x1b[0m",
        b"\x1b[38;2;1;2;3mtrue colour\x1b[m",
        b"\r\x1b[2K 10%\r\x1b[K 20%\b\b\b",
        b"\x1b[A\x1b[2B\x1b[10G\x1b[1;1H\x1b[2J",
        "höhe ━━━ 温度 🙂".encode(),
        b"\xff\xfe not text",
    ],
)
def test_what_draws_passes(log: bytes) -> None:
    assert harmless(log) == log
    assert harmless(*(log[at : at + 1] for at in range(len(log)))) == log


@pytest.mark.parametrize(
    "attack",
    [
        b"\x1b]0;a title\x07",
        b"\x1b]2;a title\x1b\\",
        b"\x1b]52;c;cm0gLXJmIH4K\x07",
        b"\x1b]10;?\x07",
        b"\x1b[6n",
        b"\x1b[c",
        b"\x1b[>c",
        b"\x1b[?1049h",
        b"\x1b[?1000h",
        b"\x1b[?25l",
        b"\x1b[21t",
        b"\x1b[3J",
        b"\x1b[>4;2m",
        b"\x1bc",
        b"\x1b(0",
        b"\x1bP+q544e\x1b\\",
        b"\x1b_Gi=31;\x1b\\",
        b"\x1bktitle\x1b\\",
        b"\x05\x0e\x00",
        b"\xc2\x9b6n"[:2],
    ],
)
def test_what_speaks_to_the_terminal_itself_does_not(attack: bytes) -> None:
    log = b"before " + attack + b" after\n"
    assert harmless(log) == b"before  after\n"
    assert harmless(*(log[at : at + 1] for at in range(len(log)))) == b"before  after\n"


def test_a_sequence_without_end_does_not_swallow_the_log() -> None:
    assert harmless(b"\x1b]0;never closed\nline two\n") == b"\nline two\n"
    long = b"\x1bP" + b"A" * 200_000
    assert len(harmless(long, b"\nnext\n")) > 200_000


SEQUENCES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\x1b", b"[", b"]", b"52;c;", b"6n", b"\x07", b"\\", b"m", b"K", b"?", b"\n", b"\xc2", b"\x9b"]
        ),
        st.binary(max_size=4),
    ),
    max_size=30,
)


@given(SEQUENCES, st.integers(0, 60))
def test_no_escape_leaves_that_does_not_draw(tokens: list[bytes], cut: int) -> None:
    log = b"".join(tokens)
    out = harmless(log[:cut], log[cut:])
    assert not re.sub(rb"\x1b\[[0-9;:]*[A-HJKPXdfm@su]", b"", out).count(b"\x1b")
    assert not re.search(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]", out)
