"""What reaches a terminal, a pipe and a program: real processes over real terminals and pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

PRELUDE = """
import sys, time
from launcher import render
from launcher.domain import TransferProgress
from launcher.errors import TransferError
said = render.reporter(as_json="--json" in sys.argv)
def moved(done, total=50_000_000, label="code", **more):
    values = dict(done_files=done // 500_000, total_files=total // 500_000, sent_bytes=done // 4) | more
    said.transfer(TransferProgress(label=label, done_bytes=done, total_bytes=total, **values))
def upload(pause_s=0.0):
    for step in range(101):
        moved(step * 500_000)
        time.sleep(pause_s)
"""


def piped(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"PYTHONUTF8": "1"},
    )


def events(script: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in piped(script, "--json").stdout.splitlines()]


class Screen:
    """What a terminal shows of what was written to it: rows of text, by the sequences that we use."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> Screen:
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                end = next(i for i in range(at + 2, len(text)) if text[i].isalpha())
                self._command(text[at + 2 : end], text[end])
                at = end
            else:
                self._put(text[at])
            at += 1
        return self

    def _command(self, argument: str, letter: str) -> None:
        assert letter in "mJ", (argument, letter)
        if letter == "J":
            self.rows = self.rows[: self.row + 1]
            self.rows[self.row] = self.rows[self.row][: self.column]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            self.rows += [""] * (self.row + 1 - len(self.rows))
        else:
            if self.column == self.columns:
                self._put("\n")
                self.column = 0
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1

    def __str__(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows).rstrip("\n")


def on_terminal(script: str, *, columns: int = 100, **environment: str) -> tuple[str, str]:
    """All that was written, and what is left to be seen."""
    child = pexpect.spawn(
        sys.executable,
        ["-c", PRELUDE + script],
        dimensions=(40, columns),
        encoding="utf-8",
        timeout=60,
        env=os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1"} | environment,  # type: ignore[arg-type]
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return child.before, str(Screen(columns).feed(child.before))


def test_a_transfer_on_a_terminal_is_one_bar_and_then_one_line() -> None:
    written, seen = on_terminal(
        "said.phase('sync'); upload(0.01); said.phase('start', 'python3 train.py'); said.close()"
    )
    assert written.count("\r\n") == 3
    assert "━" in written
    assert "MB/s" in written
    phase, code, start = seen.splitlines()
    assert phase.endswith("  sync")
    assert code.startswith("          code: 100 files, 50.0 MB in 1.")
    assert code.endswith("s (12.5 MB sent: compression saved 75 %)")
    assert start.endswith("  start      python3 train.py")


@pytest.mark.parametrize("columns", [40, 20, 8, 1])
def test_a_narrow_terminal_shows_no_row_twice(columns: int) -> None:
    # What a shell exported before its window was made smaller is not the width.
    script = "upload(0.004); moved(1, label='x' * 200); moved(2, label='x' * 200)"
    _, seen = on_terminal(script, columns=columns, COLUMNS="100")
    assert seen.replace("\n", "").count("code") == 1


def test_a_transfer_that_fails_leaves_a_clean_line() -> None:
    script = """
said.phase("sync")
moved(10_000_000)
said.close()
sys.stderr.write("error: no\\n")
"""
    _, seen = on_terminal(script)
    assert seen.splitlines()[1:] == ["error: no"]
    _, seen = on_terminal(script.replace("said.close()", "said.warn('the line broke')"))
    assert seen.splitlines()[1:] == ["warning: the line broke", "error: no"]


def test_a_bar_tells_that_nothing_moves() -> None:
    script = """
moved(0); time.sleep(0.3); moved(10_000_000)
time.sleep(7)
said.close()
"""
    written, _ = on_terminal(script)
    rates = [part.split()[-1] for part in written.split("/s") if part.split()]
    assert "m0 bytes/s" in written
    assert len(rates) > 5


def test_the_jobs_own_bars_overwrite_themselves_and_ours_come_after_them() -> None:
    script = r"""
said.phase("run")
for percent in range(101):
    said.log(b"\r epoch 1: %d%%" % percent)
said.warn("the line to the machine is gone")
said.log(b"\r epoch 1: 100% again\n")
said.log(b"no newline at the end")
said.phase("fetch")
moved(1_000_000, 1_000_000, label="results")
said.close()
"""
    _, seen = on_terminal(script)
    lines = seen.splitlines()
    assert lines[1:5] == [
        " epoch 1: 100%",
        "warning: the line to the machine is gone",
        " epoch 1: 100% again",
        "no newline at the end",
    ]
    assert lines[5].endswith("  fetch")
    assert lines[6].startswith("          results: 2 files, 1.0 MB in 0.0 s")


def test_a_bar_gives_way_to_the_log_and_does_not_draw_over_its_open_line() -> None:
    script = r"""
moved(1_000_000)
said.log(b"one\n")
time.sleep(0.2); moved(2_000_000)
said.log(b"two, open")
time.sleep(0.2); moved(3_000_000); time.sleep(0.7)
said.log(b" and closed\n")
said.close()
"""
    _, seen = on_terminal(script)
    assert seen == "one\ntwo, open and closed"


def test_escape_sequences_on_a_terminal() -> None:
    written, _ = on_terminal(r"said.log(b'\x1b[31mred\x1b[0m \x1b]52;c;AAAA\x07 \x1b[6n\n'); said.close()")
    assert "\x1b[31mred\x1b[0m" in written
    assert "52;c" not in written
    assert "\x1b[6n" not in written


def test_no_colour_and_dumb_terminals() -> None:
    written, _ = on_terminal("said.phase('sync', 'x'); said.close()", NO_COLOR="1")
    assert "\x1b" not in written
    written, seen = on_terminal("said.phase('sync', 'x'); upload(0.002); said.close()", TERM="dumb")
    assert "\x1b" not in written
    assert len(seen.splitlines()) == 2


def test_a_pipe_gets_summaries_alone() -> None:
    done = piped("said.phase('sync'); upload(0.002); said.close()")
    assert done.stdout == ""
    _, line = done.stderr.splitlines()
    assert line.startswith("          code: 100 files, 50.0 MB in 0.")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_pipe_does_not_pay_for_what_draws_on_terminals(arguments: list[str]) -> None:
    script = "said.phase('sync'); upload(); said.warn('no'); said.close(); sys.exit('rich' in sys.modules)"
    piped(script, *arguments)


def test_a_pipe_hears_of_a_long_transfer_now_and_then() -> None:
    script = """
import itertools
seconds = itertools.count()
time.monotonic = lambda: float(next(seconds))
for step in range(35): moved(step * 1_000_000)
"""
    lines = piped(script).stderr.splitlines()
    assert lines == [
        "          code: 10.0 MB of 50.0 MB after 10 s",
        "          code: 20.0 MB of 50.0 MB after 20 s",
        "          code: 30.0 MB of 50.0 MB after 30 s",
    ]


def test_a_pipe_gets_the_last_state_of_a_bar(tmp_path: Path) -> None:
    script = r"""
for percent in range(101): said.log(b"\r%d%%" % percent)
said.log(b"\nnext \xc3"); said.log(b"\xa9\n\r10%\r20%")
said.close()
"""
    assert piped(script).stdout == "100%\nnext é\n20%\n"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_nothing_is_withheld_from_a_pipe_for_ever(arguments: list[str]) -> None:
    script = PRELUDE + "said.log(b'waiting for input: '); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdin
        # It says so while the job is silent and nothing else happens.
        assert b"waiting for input: " in os.read(child.stdout.fileno(), 1000)
        child.stdin.close()


def test_events_of_a_transfer_are_few_and_the_last_has_all_figures() -> None:
    found = events("upload(0.01); said.close()")
    assert {event["event"] for event in found} == {"transfer"}
    assert 2 <= len(found) <= 9
    assert [event["finished"] for event in found] == [False] * (len(found) - 1) + [True]
    last = found[-1]
    assert (last["done_bytes"], last["total_bytes"]) == (50_000_000, 50_000_000)
    assert (last["done_files"], last["sent_bytes"], last["reused_bytes"]) == (100, 12_500_000, 0)
    assert 1 <= last["elapsed_s"] < 10  # type: ignore[operator]


def test_a_transfer_without_known_end_ends_with_what_comes_next() -> None:
    found = events("for n in range(9): moved(n, 0, done_files=n, total_files=0)\nsaid.phase('start'); said.close()")
    assert [(event.get("done_bytes"), event.get("finished")) for event in found] == [
        (0, False),
        (8, True),
        (None, None),
    ]


def test_events_of_the_log_are_text_lines() -> None:
    script = r"""
for percent in range(101): said.log(b"\r%d%%" % percent)
said.log(b"\nh\xc3"); said.log(b"\xb6he\nsplit ")
said.log(b"line\n\xff\n")
said.close()
"""
    texts = [event["text"] for event in events(script)]
    assert texts == ["100%\n", "höhe\n", "split line\n\ufffd\n"]


def test_a_flood_costs_a_reader_little() -> None:
    # A minute's million lines in well under a second, folded or not.
    script = r"""
block = b"epoch 12 step 1234 loss 0.12345 accuracy 0.98\n" * 5000
began = time.process_time()
for _ in range(200): said.log(block)
print(time.process_time() - began, file=sys.stderr)
"""
    for arguments in ([], ["--json"]):
        assert float(piped(script, *arguments).stderr) < 5
