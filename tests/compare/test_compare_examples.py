"""The decks' tables, one spec each: what they compare, and the decks' own figures beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.commands import comparewish
from launcher.compare import legs, places
from launcher.spec import load

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "count", "cited"),
    [
        ("deck_network", 2, "GRID K520, training"),
        ("deck_logistic", 2, "one machine's CPU"),
        ("hidden_units", 14, "500 units"),
        ("lenet_kernels", 10, "20 and 50 kernels, 500 units, 200 epochs"),
    ],
)
def test_a_spec_is_the_whole_comparison(name, count, cited):
    spec = load(EXAMPLES / f"{name}.yaml")
    asked = comparewish.wish(spec, comparewish.Flags())
    made = comparewish.axes(spec, asked, ())
    found = legs.legs(spec, made, places.places(asked.on, made.devices, asked.instance_types), repeats=1)
    assert len(found) == count
    assert legs.is_jobs(spec)
    assert cited in dict(asked.cited)
    assert all("(deck" in figure for what, figure in asked.cited if what != "speed-up")


def test_flags_are_over_the_section():
    spec = load(EXAMPLES / "hidden_units.yaml")
    asked = comparewish.wish(
        spec, comparewish.Flags(sweep=("hidden_units=10..40:10",), devices="cpu", floatx="float32,bfloat16", repeat=3)
    )
    made = comparewish.axes(spec, asked, ())
    assert (len(made.points), made.devices, len(made.floatx), asked.repeats) == (4, ("cpu",), 2, 3)
    assert asked.cited == spec.compare.cited
