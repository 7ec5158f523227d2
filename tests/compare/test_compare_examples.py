"""The decks' tables, one spec each: what they compare, and the decks' own figures beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.commands import comparewish
from launcher.compare import legs, page, places
from launcher.compare.assemble import put_together
from launcher.comparison import Comparison, TrialState
from launcher.domain import CitedLeg, Device
from launcher.render import beside
from launcher.render.comparison import text
from launcher.spec import load
from tests.compare import samples

EXAMPLES = Path(__file__).parents[2] / "examples"


CITED = {
    # Seconds of training as the decks tell them, in the order of device, then of what is swept.
    "deck_network": ([312.749, 17.883], {"train": [17.5], "elapsed": [12.5]}),
    "deck_logistic": ([28, 7.2], {"train": [3.9]}),
    "hidden_units": (
        [60 * each for each in (1.4, 2, 2.5, 3.6, 4.88, 7, 3.5, 4.65, 3.6, 3.63, 3.67, 4.1)],
        {"train": [0.4, 0.4, 0.7, 1.0, 1.3, 1.7]},
    ),
    "lenet_kernels": (
        [60 * each for each in (5, 10, 71, 380.28, 0.13, 0.26, 0.64, 1.48, 40, 32.52)],
        {"train": [38.5, 38.5, 110.9, 11.7]},
    ),
}


def comparison(name: str, done: Callable[[CitedLeg], bool]) -> Comparison:
    """The spec's legs, as if each that is cited and `done` had taken a tenth of the deck's time."""
    asked = load(EXAMPLES / f"{name}.yaml").compare
    made = comparewish.axes(load(EXAMPLES / f"{name}.yaml"), asked, ())
    at = places.places(asked.on, made.devices, asked.instance_types)
    found = legs.legs(load(EXAMPLES / f"{name}.yaml"), made, at, repeats=1)
    results = []
    for each in (planned.leg for planned in found):
        of = [one for one in asked.cited_legs if (one.device, one.settings) == (each.device, each.settings)]
        trial = samples.undone(each, 1, TrialState.NO_DEVICE, "no GPU")
        if of and of[0].train_s is not None and done(of[0]):
            trial = replace(samples.trial(each, 1, 1.0), train_s=of[0].train_s / 10)
        results.append(samples.result(each, [trial], run="one", price=0))
    asked_for = replace(samples.request(name), cited=asked.cited, cited_legs=asked.cited_legs)
    return put_together(asked_for, results)


@pytest.mark.parametrize(
    ("name", "count", "alone"),
    [("deck_network", 2, 2), ("deck_logistic", 2, 2), ("hidden_units", 14, 1), ("lenet_kernels", 10, 0)],
)
def test_a_spec_is_the_whole_comparison_with_the_decks_figures_beside_its_legs(name, count, alone):
    made = comparison(name, lambda _: True)
    assert legs.is_jobs(load(EXAMPLES / f"{name}.yaml"))
    assert len(made.legs) == count
    expected_s, faster = CITED[name]
    found = beside.besides(made)
    order = sorted(found, key=lambda each: each.cited.device)
    assert [each.cited.train_s for each in order] == pytest.approx(expected_s)
    for what, times in faster.items():
        assert [round(each.theirs[what], 1) for each in found if what in each.theirs] == times
    assert all("deck" in each.cited.source for each in found)
    # Every figure of a leg stands beside one; none is left over.
    assert len(beside.lines(made)) == alone
    assert {each.cited for each in found} == set(made.cited_legs)


def test_the_tables_of_the_decks_are_shown_in_full_on_the_terminal_and_on_the_page():
    made = comparison("hidden_units", lambda _: True)
    shown = text(made, width=160)
    assert re.search(r"gpu-float32.hidden_units=100 +24.6 +246.0 +0.0\S+ +- +1.71. +1.71.\n", shown)
    assert re.search(r"cpu-float32.hidden_units=10 +8.40 +84.0 +0.0\S+ +0.0680 +- +-\n", shown)
    assert "theirs: deck 1, lines 223 to 228\n" in shown
    (table,) = re.findall(r'<div class="scroll"[^>]*aria-label="ours and theirs".*?</table>', page.render(made))
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", table)]
    assert next(row[:2] for row in cells if row and row[1] == "246.0") == ["24.6", "246.0"]
    assert len([row for row in cells if row]) == 12


def test_a_leg_that_was_not_run_has_their_figure_and_none_of_ours():
    made = comparison("deck_network", lambda each: each.device is Device.CPU)
    cpu, gpu = beside.besides(made)
    told = {pair.heading: (pair.ours(gpu), pair.theirs(gpu)) for pair in beside.pairs([cpu, gpu])}
    assert told["train s"] == ("no device", "17.9")
    assert told["speed-up"] == ("-", "17.5\N{MULTIPLICATION SIGN}")
    assert gpu.ours == {}
    said = next(line for line in beside.text(made, 60) if line.startswith("gpu"))
    assert said.startswith("gpu-float32: no device here; theirs: seconds of training 17.9, seconds in all 25.6")


def test_other_settings_are_other_work_and_their_figures_stand_alone():
    """`--sweep epochs=2` is a short try: the deck's 20 epochs are no figure of it."""
    made = comparison("deck_network", lambda _: True)
    short = tuple(replace(each, leg=replace(each.leg, settings=(("epochs", "2"),))) for each in made.legs)
    other = replace(made, legs=short)
    assert beside.besides(other) == []
    assert (
        "cpu (AWS machine with a GRID K520)",
        "312.7 s of training, 319.9 s in all, error 0.0650 (deck 0, lines 494 to 496)",
    ) in beside.lines(other)
    assert any("17.5" in figure for _, figure in beside.lines(other))
    assert "beside figures" not in text(other)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", CITED)
def test_nothing_of_it_is_wider_than_the_terminal(name, width):
    shown = text(comparison(name, lambda _: True), width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert "theirs" in shown


def test_flags_are_over_the_section():
    spec = load(EXAMPLES / "hidden_units.yaml")
    asked = comparewish.wish(
        spec, comparewish.Flags(sweep=("hidden_units=10..40:10",), devices="cpu", floatx="float32,bfloat16", repeat=3)
    )
    made = comparewish.axes(spec, asked, ())
    assert (len(made.points), made.devices, len(made.floatx), asked.repeats) == (4, ("cpu",), 2, 3)
    assert (asked.cited, asked.cited_legs) == (spec.compare.cited, spec.compare.cited_legs)
