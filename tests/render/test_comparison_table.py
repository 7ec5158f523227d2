"""A comparison on a terminal of any width, and through a pipe."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace

import pexpect
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from launcher.comparison import Comparison, Parity, Ratio
from launcher.render import comparison as told
from launcher.render.figures import clean, dollars, duration, figure, shorten, tick
from launcher.render.legcells import COLUMNS
from launcher.render.legtables import blocks, table_width
from launcher.render.told import pair_words, parity_words, ratio_words
from tests.compare import samples

SHOW = "from launcher.render import comparison; from tests.compare import samples; comparison.show(samples.{}())"


EVERY = samples.every()


def on_terminal(comparison: Comparison, width: int) -> str:
    """What a terminal without colours shows."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as shown:
        told.tell(comparison, console)
    return shown.get()


@pytest.mark.parametrize("name", ["deck", "sweep", "no_gpu"])
@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160, 200])
def test_nothing_is_wider_than_the_terminal_and_no_figure_is_cut(name: str, width: int) -> None:
    comparison = EVERY[name]
    shown = on_terminal(comparison, width)
    assert max(map(len, shown.splitlines())) <= width
    for columns in blocks(comparison.legs, width):
        assert table_width(columns, comparison.legs) <= width
        for result in comparison.legs:
            assert all(column.cell(result) in shown for column in columns)
    assert max(map(len, told.text(comparison, width=width).splitlines())) <= width


def test_one_table_where_there_is_room_else_one_a_group() -> None:
    legs = EVERY["deck"].legs
    headings = [[column.heading for column in block] for block in blocks(legs, 160)]
    assert len(headings) == 1
    assert {"elapsed s", "train s", "epoch s", "samples/s", "error", "$/h", "$/run", "$/target"} <= set(headings[0])
    assert {"user s", "sys s", "%CPU", "memory", "GPU %", "machine"} <= set(headings[0])
    assert "device" in {column.heading for column in blocks(legs, 400)[0]}
    narrow = [[column.heading for column in block] for block in blocks(legs, 80)]
    assert [block[0] for block in narrow] == ["leg"] * 3
    assert "elapsed s" in narrow[0]
    assert narrow[1][1:4] == ["machine", "$/h", "$/run"]
    assert "user s" in narrow[2]


def test_a_leg_whose_name_does_not_tell_its_device_keeps_the_column() -> None:
    legs = tuple(replace(each, leg=replace(each.leg, name=f"leg {i}")) for i, each in enumerate(EVERY["deck"].legs))
    headings = [column.heading for block in blocks(legs, 80) for column in block]
    assert {"device", "floatX"} <= set(headings)


def test_legs_that_were_not_run_say_why_and_have_no_figures() -> None:
    for shown in (on_terminal(EVERY["no_gpu"], 100), told.text(EVERY["no_gpu"], width=100)):
        row = next(line for line in shown.splitlines() if line.startswith("gpu-float32"))
        assert re.fullmatch(r"gpu-float32 +local +no device( +-)+", row)
        assert "gpu-float32: no device: this machine has no GPU: nvidia-smi is not there" in shown
        assert shown.count("cpu-float16: failed: exited with status 1\n    see: gpurun logs box-run-1\n") == 1


def test_money_is_not_told_where_nothing_costs_any() -> None:
    assert "$" not in told.text(EVERY["no_gpu"])
    assert "$/run" in told.text(EVERY["deck"])


def test_what_it_comes_to_follows_the_table() -> None:
    shown = told.text(EVERY["deck"])
    order = ["The GPU (g4dn.xlarge) trains", "beside figures from elsewhere", "ratios", "parity", "cited", "warnings"]
    assert [shown.index(each) for each in order] == sorted(shown.index(each) for each in order)
    assert "gpu-float32 against cpu-float32: 16.2× as fast in training (15.8 to 16.5)" in shown  # noqa: RUF001
    assert "✓ gpu-float32 against cpu-float32: costs differ by 8.7e-06" in shown
    assert "✗ gpu-bfloat16 against cpu-" in shown
    sweep = told.text(EVERY["sweep"])
    assert re.search(r"seconds, float32: the GPU pays from hidden_units ≈ \d+ \(\d", sweep)


def test_through_a_pipe_it_is_plain_text_and_rich_is_not_loaded() -> None:
    script = SHOW.format("no_gpu") + "; import sys; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    text = done.stdout.decode()
    assert text.startswith("The deck's network here\n")
    assert "\x1b" not in text
    assert text.endswith("False\n")
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_on_a_terminal_it_is_drawn_with_colours_unless_they_are_not_wanted(
    extra: dict[str, str], *, coloured: bool
) -> None:
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1", "COLUMNS": "80"} | extra
    environment = {key: value for key, value in environment.items() if key != "NO_COLOR" or "NO_COLOR" in extra}
    child = pexpect.spawn(
        sys.executable, ["-c", SHOW.format("deck")], env=environment, dimensions=(60, 80), timeout=60, encoding="utf-8"
    )
    shown = child.read()
    assert ("\x1b[" in shown) == coloured
    assert ("──" in shown) == (extra.get("TERM") != "dumb")
    assert "$/target" in shown


names = st.text(max_size=40) | st.sampled_from(
    ["\x1b]0;x\x07", "\u202eabc", "a\nb", "[red]b[/red]", "\x9b31m", "日本語"]
)


@settings(deadline=None, max_examples=40)
@given(names, st.integers(40, 170))
def test_no_name_speaks_to_the_terminal(name: str, width: int) -> None:
    base = EVERY["no_gpu"]
    legs = tuple(
        replace(each, leg=replace(each.leg, name=f"{name}{i}", backend=name, place=name), machine=name)
        for i, each in enumerate(base.legs)
    )
    cited = tuple(replace(each, by=name, source=name) for each in base.cited_legs)
    made = replace(base, title=name, verdict=name, warnings=(name,), legs=legs, cited=((name, name),), cited_legs=cited)
    for shown in (on_terminal(made, width), told.text(made, width=width)):
        assert all(sign.isprintable() for sign in shown if sign != "\n")
    if name.isprintable() and name.strip():
        assert shorten(f"{name}0", 14)[:5].strip() in told.text(made, width=160)


def test_ratios_are_told_from_the_side_that_they_speak_of() -> None:
    speed = Ratio(
        numerator="cpu", denominator="gpu", what="elapsed", value=17.5, least=17, most=18, count=3, paired=True
    )
    assert ratio_words(speed) == "gpu is 17.5× as fast as cpu (elapsed, 17.0 to 18.0)"  # noqa: RUF001
    money = replace(speed, numerator="gpu", denominator="cpu", what="usd", value=0.5, least=0.5, most=0.5, count=1)
    assert ratio_words(money) == "gpu costs 0.500× as much as cpu (measured once)"  # noqa: RUF001
    rows = replace(speed, numerator="gpu", denominator="cpu", what="samples")
    assert pair_words([speed, rows, money]) == [
        "gpu against cpu: 17.5× as fast in all (17.0 to 18.0), 17.5× the samples/s (17.0 to 18.0), "  # noqa: RUF001
        "0.500× the dollars"  # noqa: RUF001
    ]
    assert "not measured" in ratio_words(replace(speed, value=float("nan")))


def test_parity_says_how_far_apart_or_that_nothing_could_be_compared() -> None:
    base = Parity(leg="a", reference="b", tolerance=1e-3, largest_cost_difference=None, largest_weight_difference=None)
    assert parity_words(base) == "a against b: nothing could be compared"
    assert parity_words(replace(base, bytes_equal=True)) == "a against b: the weights are equal to the last bit"
    unequal = replace(base, largest_cost_difference=0.5, equal_steps=False)
    assert parity_words(unequal) == (
        "a against b: costs differ by 0.500 (0.0010 allowed); they ended with different numbers of steps"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (312.7, "313"),
        (0.0198442, "0.0198"),
        (41000, "41,000"),
        (0.9999, "1.00"),
        (None, "-"),
        (float("inf"), "-"),
        (float("nan"), "-"),
        (0, "0"),
        (1.5e9, "1.5e+09"),
        (3.1e-6, "3.1e-06"),
        (-2.5, "-2.50"),
    ],
)
def test_figures_have_three_that_count(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_dollars_durations_and_ticks() -> None:
    assert [dollars(each) for each in (0, 0.00261, 0.0000449, 12.345)] == ["$0", "$0.00261", "$0.000045", "$12.3"]
    assert [duration(each) for each in (17.94, 312.7, 7440, None)] == ["17.9 s", "5 min 13 s", "2 h 04 min", "-"]
    assert [tick(each) for each in (0.05, 20, 1000, 0)] == ["0.05", "20", "1,000", "0"]


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(text) == text or not text.isprintable()


@pytest.mark.parametrize("width", [60, 72, 80, 90])
def test_no_name_is_broken_at_its_hyphens(width: int) -> None:
    shown = told.text(EVERY["no_gpu"], width=width)
    assert not [line for line in shown.splitlines() if line.endswith("-") and not line.endswith(" -")]
    assert "box-run-1" in shown


def test_a_machine_that_was_never_had_has_no_price() -> None:
    own = EVERY["no_gpu"].legs[-1]
    (price,) = [column for column in COLUMNS if column.heading == "$/h"]
    assert price.cell(own) == "$0"
    assert price.cell(replace(own, leg=replace(own.leg, place="ssh://me@box"))) == "$0"
    assert price.cell(replace(own, leg=replace(own.leg, place="gpu"))) == "-"


def test_what_time_prints_and_the_cost_are_told_where_there_is_room() -> None:
    legs = EVERY["deck"].legs
    headings = {column.heading: column.cell(legs[0]) for block in blocks(legs, 400) for column in block}
    usage = sorted(legs[0].trials, key=lambda trial: trial.usage.elapsed_s if trial.usage else 0)[1].usage
    assert usage is not None
    assert {"warm-up s", "cost", "faults"} <= set(headings)
    assert re.fullmatch(r"\d+\+31\d,\d{3}", headings["faults"])
    assert headings["cost"] == figure(legs[0].final_cost)
