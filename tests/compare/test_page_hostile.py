"""Names, reasons and figures from a machine that means harm, or that merely failed: the page stays a page."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.compare import page
from launcher.compare.page.palette import spaced
from launcher.compare.page.scale import Scale, linear, logarithmic, ticks
from launcher.compare.page.series import thinned
from launcher.comparison import Comparison, Crossing, LegResult, Parity, Point, Ratio, Spread, SweepPoint, Trial
from launcher.domain import Device, FloatX, RunId
from tests.compare import samples

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = r"-?\d+(\.\d+)?"
PLACES = rf"M{NUMBER} {NUMBER}(L{NUMBER} {NUMBER})*"
COORDINATES = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "width", "height"}
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
BAITS = [
    "<script>alert(1)</script>",
    "]]></style><script>1</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='x",
    "&lt;b&gt;&amp;&#60;script&#62;",
    "\u202egpj.exe",
    "\x1b]0;title\x07\x9b31m",
    "--><!--",
    "a\x00b\ud800c\ufffe",
    "x" * 5000,
    "</title></svg><script/>",
    "url(http://example.com/)",
]
names = st.one_of(st.sampled_from(BAITS), st.text(max_size=40), st.text(alphabet=BIDI + "<>&\"'/ab", max_size=30))
figures = st.one_of(
    st.floats(),
    st.floats(min_value=0, max_value=1e4),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 1e-30, -1.0, 1e15, 1e16]),
)
some = st.none() | figures
quick = settings(max_examples=40, deadline=timedelta(seconds=10), suppress_health_check=list(HealthCheck))


NO_GPU, SWEEP = samples.no_gpu(), samples.sweep()


def renamed(name: str) -> Comparison:
    """A comparison in which all that comes from elsewhere is one text."""
    base = NO_GPU
    legs = tuple(_renamed(each, f"{name}{index}") for index, each in enumerate(base.legs))
    return replace(
        base,
        comparison_id=name,
        title=name,
        command=(name, name),
        legs=legs,
        verdict=name,
        warnings=(name,),
        cited=((name, name),),
        cited_legs=tuple(replace(each, by=name, source=name) for each in base.cited_legs),
        ratios=(Ratio(numerator=name, denominator=name, what=name, value=2, least=1, most=3, count=2, paired=True),),
        parities=(
            Parity(
                leg=name,
                reference=name,
                tolerance=1,
                largest_cost_difference=None,
                largest_weight_difference=1,
                exceeded=(name,),
                untold=(name,),
            ),
        ),
        crossings=(
            replace(SWEEP.crossings[0], setting=name, series=name, uncertain=name, what=name),
            Crossing(setting=name, what=name, value=None, always=name),
        ),
        receipts=((RunId(name), 1.0, ()),),
        version=name,
    )


def _renamed(result: LegResult, name: str) -> LegResult:
    leg = replace(result.leg, name=name, backend=name, place=name, settings=((name, name),))
    trials = tuple(
        replace(
            each,
            leg=name,
            reason=name,
            notes=(name,),
            device_told=name,
            versions=((name, name),),
            machine=replace(each.machine, processor=name, system=name, gpu=name, driver=name) if each.machine else None,
        )
        for each in result.trials
    )
    return replace(result, leg=leg, trials=trials, machine=name)


@quick
@given(names)
def test_no_name_becomes_markup_or_turns_the_page_around(name: str) -> None:
    text = page.render(renamed(name))
    text.encode()
    root = ElementTree.fromstring(text)
    plain = ElementTree.fromstring(page.render(renamed("plain")))
    assert {each.tag for each in root.iter()} <= {each.tag for each in plain.iter()}
    assert {key for each in root.iter() for key in each.attrib} <= {key for each in plain.iter() for key in each.attrib}
    assert not set(BIDI) & set(text)
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_a_name_is_shown_as_it_is_where_it_can_be() -> None:
    root = ElementTree.fromstring(page.render(renamed("<b>&amp; 'é' 日本</b>")))
    heading = next(root.iter("h1"))
    assert heading.text == "<b>&amp; 'é' 日本</b>"
    assert len(heading) == 0


spreads = st.none() | st.builds(Spread, median=figures, least=figures, most=figures, count=st.integers(0, 9))
points = st.builds(Point, at_s=figures, epoch=figures, step=st.integers(0, 10**9), cost=some, error=some)
trials = st.builds(
    lambda base, elapsed_s, **fields: replace(base, usage=replace(base.usage, elapsed_s=elapsed_s), **fields),
    st.just(replace(samples.trial(samples.leg(Device.CPU), 1, 0.1), points=())),
    elapsed_s=figures,
    points=st.lists(points, max_size=6).map(tuple),
    ready_s=some,
    warm_up_s=some,
    train_s=some,
    first_epoch_s=some,
    epoch_s=some,
)


def _result(index: int, made: Trial, price: float, spread: Spread | None, value: float | None) -> LegResult:
    leg = replace(samples.leg(Device.GPU if index % 2 else Device.CPU, FloatX.FLOAT32), name=f"leg-{index}")
    fields = dict.fromkeys(("elapsed_s", "train_s", "epoch_s", "samples_per_s", "target_s"), spread)
    money = dict.fromkeys(("usd_per_run", "usd_per_epoch", "usd_to_target", "final_cost", "final_error"), value)
    return LegResult(leg=leg, run_id=RunId("r"), price_usd_per_hour=price, trials=(made,), **fields, **money)


results = st.builds(_result, st.integers(0, 50), trials, figures, spreads, some)
ratios = st.builds(
    Ratio,
    numerator=st.just("a"),
    denominator=st.sampled_from("bc"),
    what=st.sampled_from(["train", "elapsed", "epoch", "samples", "usd", "?"]),
    value=figures,
    least=figures,
    most=figures,
    count=st.integers(0, 3),
    paired=st.booleans(),
)
whole = st.builds(Spread, median=figures, least=figures, most=figures, count=st.just(2))
sweep_points = st.builds(SweepPoint, at=figures, cpu=whole, gpu=whole, advantage=figures, least=figures, most=figures)
crossings = st.builds(
    Crossing,
    setting=st.just("units"),
    what=st.sampled_from(["seconds", "usd"]),
    value=some,
    least=some,
    most=some,
    above=st.booleans(),
    points=st.lists(sweep_points, max_size=4).map(tuple),
)


@settings(quick, max_examples=150)
@given(
    st.lists(results, max_size=4),
    st.lists(ratios, max_size=4),
    st.lists(crossings, max_size=2),
    some,
)
def test_no_coordinate_is_ever_no_number(
    legs: list[LegResult], compared: list[Ratio], crossed: list[Crossing], target: float | None
) -> None:
    made = replace(
        NO_GPU, legs=tuple(legs), ratios=tuple(compared), crossings=tuple(crossed), target=target, parities=()
    )
    root = ElementTree.fromstring(page.render(made))
    for each in root.iter():
        if each.tag == f"{SVG}path":
            assert re.fullmatch(PLACES + r"|M[-\d LM]+", each.get("d", ""))
        if each.tag == f"{SVG}polygon":
            assert re.fullmatch(rf"{NUMBER},{NUMBER}( {NUMBER},{NUMBER})*", each.get("points", ""))
        for key in COORDINATES & set(each.keys()):
            assert re.fullmatch(NUMBER, each.get(key, "")), (each.tag, key)
        if each.tag == f"{SVG}rect":
            assert float(each.get("width", "")) >= 0
    shown = " ".join(root.itertext()).lower()
    assert (
        not re.search(r"\b(nan|inf|none)\b", shown.replace("gpu none", "").replace("none system", ""))
        or "none" in shown
    )
    assert not re.search(r"\b(nan|inf)\b", shown)


reals = st.floats(min_value=-1e12, max_value=1e12)


@given(st.lists(reals, max_size=8), st.integers(2, 9), st.booleans())
def test_ticks_are_few_and_within_and_the_scale_rises(values: list[float], most: int, log: bool) -> None:
    scale = logarithmic(values, 10, 200) if log else linear(values, 10, 200)
    found = ticks(scale, most)
    span = scale.high - scale.low
    assert 1 <= len(found) <= most + 2
    assert all(scale.low - span * 1e-6 <= each <= scale.high + span * 1e-6 for each in found)
    assert found == sorted(found)
    placed = [scale.at(each) for each in sorted(values)]
    assert placed == sorted(placed)
    assert all(10 - 1e-6 <= each <= 200 + 1e-6 for each in placed)


def test_a_decade_is_as_long_as_any_other_on_a_logarithmic_scale() -> None:
    scale = Scale(low=1, high=1000, start=0, end=300, logarithmic=True)
    assert [round(scale.at(each), 6) for each in (1, 10, 100, 1000)] == [0, 100, 200, 300]
    assert ticks(scale, 4) == [1, 10, 100, 1000]


@given(st.lists(st.tuples(reals, reals), min_size=1, max_size=900).map(sorted))
def test_thinning_keeps_the_ends_and_the_extremes(line: list[tuple[float, float]]) -> None:
    kept = thinned(line, 50)
    assert len(kept) <= 52
    assert kept[0] == line[0]
    assert kept[-1] == line[-1]
    assert {min(b for _, b in kept), max(b for _, b in kept)} == {min(b for _, b in line), max(b for _, b in line)}
    assert list(kept) == sorted(kept)


@given(st.lists(st.floats(min_value=0, max_value=300), min_size=1, max_size=12))
def test_labels_never_lie_on_one_another(wanted: list[float]) -> None:
    placed = spaced(wanted, 15, 0, 300)
    order = sorted(placed)
    assert all(later - earlier >= 15 - 1e-6 for earlier, later in pairwise(order))
    assert min(placed) >= -1e-6
    assert max(placed) <= 300 + 1e-6
