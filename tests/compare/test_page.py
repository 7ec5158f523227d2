"""The page: whole, harmless, true to its figures; looked at as a browser and as a screen reader would."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from launcher.compare import page
from launcher.comparison import Comparison, Crossing, LegResult, TrialState
from launcher.domain import Device, FloatX
from tests.compare import samples

SVG = "{http://www.w3.org/2000/svg}"


EVERY = samples.every()


def tree(comparison: Comparison) -> ElementTree.Element:
    """Not well-formed raises."""
    return ElementTree.fromstring(page.render(comparison))


def drawings(root: ElementTree.Element, which: str) -> list[ElementTree.Element]:
    """The charts for a window of this width."""
    return [each for each in root.iter(f"{SVG}svg") if each.get("class") == which]


def drawing(root: ElementTree.Element, ident: str) -> ElementTree.Element:
    return next(each for each in drawings(root, "wide") if (each.get("aria-labelledby") or "").startswith(f"{ident}-"))


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


class Outside(HTMLParser):
    """What of a page would run, or fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "object", "embed", "a", "use", "image", "form"}:
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name.startswith("on") or name in {"src", "href", "xlink:href"}]
        self.found += [value for _, value in attrs if value and "url(" in value and not value.startswith("url(#")]


@pytest.mark.parametrize("name", ["deck", "sweep", "no_gpu"])
def test_the_page_is_one_well_formed_file_that_runs_and_fetches_nothing(name: str) -> None:
    text = page.render(EVERY[name])
    ElementTree.fromstring(text)
    outside = Outside()
    outside.feed(text)
    assert outside.found == []
    assert "default-src 'none'" in text
    assert "url(" not in text.partition("<style>")[2].partition("</style>")[0]


@pytest.mark.parametrize("name", ["deck", "sweep", "no_gpu"])
def test_every_chart_says_what_it_shows_and_ids_are_unique(name: str) -> None:
    root = tree(EVERY[name])
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    wide, narrow = drawings(root, "wide"), drawings(root, "narrow")
    assert len(wide) == len(narrow) >= 2
    for each in wide + narrow:
        assert each.get("role") == "img"
        assert set((each.get("aria-labelledby") or "").split()) <= set(ids)
        assert words(each.find(f"{SVG}title")) and len(words(each.find(f"{SVG}desc"))) > 20  # noqa: PT018 - one claim


@pytest.mark.parametrize("name", ["deck", "sweep", "no_gpu"])
def test_no_words_of_a_chart_lie_outside_of_it(name: str) -> None:
    root = tree(EVERY[name])
    for chart in drawings(root, "wide") + drawings(root, "narrow"):
        _, _, width, height = (float(each) for each in (chart.get("viewBox") or "").split())
        for text in chart.iter(f"{SVG}text"):
            x, y = float(text.get("x", "0")), float(text.get("y", "0"))
            shown = text[0].tail if len(text) else text.text
            assert shown
            # DejaVu, the widest of the types in the style sheet, at 12 px.
            long = 6.4 * len(shown)
            left = {"end": x - long, "middle": x - long / 2}.get(text.get("text-anchor", "start"), x)
            assert left >= -2, shown
            assert left + long <= width + 2, shown
            assert 0 <= y <= height, shown


def test_the_sections_are_there_with_the_figures_of_the_legs() -> None:
    text = words(tree(EVERY["deck"]))
    for each in (
        "16.2",
        "cpu-float32",
        "g4dn.xlarge",
        "Warnings",
        "Speed-up",
        "Error against seconds",
        "Where the time",
    ):
        assert each in text
    for each in ("Error against dollars", "What it costs", "Did they compute the same?", "5 min 12.7 s", "Receipts"):
        assert each in text
    for each in ("tensorflow", "2.21.0", "Platinum 8488C", "gpurun compare-cpu-gpu jobs/deck_mlp.yaml --on best"):
        assert each in text
    assert "gpurun 0.1.0" in text
    assert "not the same" in text and "cost at step 1,640 differs" in text  # noqa: PT018 - one row


def test_a_leg_that_was_not_run_is_grey_and_has_a_reason_instead_of_figures() -> None:
    root = tree(EVERY["no_gpu"])
    rows = [row for row in root.iter("tr") if row.get("class") == "not-run"]
    assert len(rows) == 3
    for row in rows:
        cells = [words(each) for each in row.findall("td")]
        assert len(cells) == 1
        assert re.fullmatch(
            r"(failed: exited with status 1gpurun logs box-run-1|no device: this machine has no GPU.*)", cells[0]
        )
    phases = drawing(root, "phases")
    dim = [words(each) for each in phases.iter(f"{SVG}g") if each.get("class") == "dim"]
    assert len(dim) == 3
    assert all("no device" in each or "failed" in each for each in dim)
    assert not any(
        each.get("class", "").startswith("phase")
        for g in phases.iter(f"{SVG}g")
        if g.get("class") == "dim"
        for each in g.iter()
    )


def bars(chart: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    """Where the bars of a class begin, and how long they are."""
    found = [each for each in chart.iter(f"{SVG}rect") if each.get("class", "").startswith(kind)]
    return [(float(each.get("x", "")), float(each.get("width", ""))) for each in found]


def lone(device: Device, epoch_s: float, **changes: object) -> LegResult:
    of = samples.leg(device, FloatX.FLOAT32)
    made = samples.trial(of, 1, epoch_s, noise=0.0)
    return samples.result(of, [replace(made, **changes)], run="run-1", price=0.36)  # type: ignore[arg-type]


def test_parts_of_a_bar_are_as_long_as_they_took() -> None:
    result = lone(Device.CPU, 1.0, ready_s=6.0, warm_up_s=4.0, train_s=24.0)
    usage = replace(result.trials[0].usage, elapsed_s=40.0)  # type: ignore[type-var]
    result = replace(result, trials=(replace(result.trials[0], usage=usage),))
    found = bars(drawing(tree(replace(EVERY["deck"], legs=(result,))), "phases"), "phase")
    lengths = [length for _, length in found]
    assert [round(length / lengths[0], 2) for length in lengths] == [
        1.0,
        round(4 / 6, 2),
        round(20 / 6, 2),
        round(10 / 6, 2),
    ]
    for (start, length), (following, _) in pairwise(found):
        assert start + length == pytest.approx(following, abs=0.05)


def test_bars_of_ratios_are_logarithmic_and_turn_their_back_on_what_is_slower() -> None:
    deck = EVERY["deck"]
    one = replace(deck.ratios[0], what="train", value=4.0, least=4.0, most=4.0)
    slower = replace(one, what="elapsed", value=0.5, least=0.25, most=1.0)
    chart = drawing(tree(replace(deck, ratios=(one, slower))), "fast")
    (ahead,), (behind,) = bars(chart, "ratio ahead"), bars(chart, "ratio behind")
    assert ahead[1] == pytest.approx(2 * behind[1], rel=0.01)
    assert behind[0] + behind[1] == pytest.approx(ahead[0], abs=0.05)
    whisker = next(each for each in chart.iter(f"{SVG}g") if each.get("class") == "whisker")[0]
    assert float(whisker.get("x2", "")) == pytest.approx(ahead[0], abs=0.05)
    assert float(whisker.get("x2", "")) - float(whisker.get("x1", "")) == pytest.approx(2 * behind[1], rel=0.01)


def test_the_crossing_stands_between_its_points_and_says_when_it_is_uncertain() -> None:
    sweep = EVERY["sweep"]
    seconds = next(each for each in sweep.crossings if each.what == "seconds")
    sure = replace(seconds, value=200.0, least=180.0, most=220.0, uncertain="")
    doubtful = replace(sure, uncertain="at 160 the trials disagree on who is ahead")
    for crossing in (sure, doubtful):
        root = tree(replace(sweep, crossings=(crossing,)))
        chart = drawing(root, "sweep0")
        line = next(each for each in chart.iter(f"{SVG}line") if each.get("class") == "reference")
        ticks = {words(each): float(each.get("x", "")) for each in chart.iter(f"{SVG}text")}
        assert ticks["160"] < float(line.get("x1", "")) < ticks["320"]
        assert ("from 200 the GPU pays, uncertain" in words(chart)) == bool(crossing.uncertain)
        assert ("Uncertain: at 160 the trials disagree" in words(root)) == bool(crossing.uncertain)


def test_a_sweep_without_a_crossing_says_who_is_ahead() -> None:
    sweep = EVERY["sweep"]
    points = sweep.crossings[0].points
    nowhere = Crossing(setting="hidden_units", what="seconds", value=None, always="gpu", points=points)
    root = tree(replace(sweep, crossings=(nowhere,)))
    assert "The GPU is ahead over the whole range of hidden_units." in words(root)
    assert not [each for each in drawing(root, "sweep0").iter(f"{SVG}line") if each.get("class") == "reference"]


def test_figures_over_dollars_leave_out_what_costs_nothing_and_say_so() -> None:
    free = replace(lone(Device.CPU, 1.0), price_usd_per_hour=0.0)
    root = tree(replace(EVERY["deck"], legs=(free, lone(Device.GPU, 0.1))))
    chart = next(each for each in root.iter("figure") if "Error against dollars" in words(each))
    assert "On one's own machine, and so not here: cpu-float32." in words(chart)
    assert len(list(drawing(root, "dollars").iter(f"{SVG}path"))) == 1
    assert "Error against dollars" not in words(tree(replace(EVERY["deck"], legs=(free,))))


def test_a_job_that_tells_costs_alone_has_a_curve_of_costs() -> None:
    result = lone(Device.CPU, 1.0)
    silent = tuple(replace(point, error=None) for point in result.trials[0].points)
    costs = replace(result, trials=(replace(result.trials[0], points=silent),))
    assert "Cost against seconds" in words(tree(replace(EVERY["deck"], legs=(costs,))))
    mute = replace(result, trials=(replace(result.trials[0], points=()),))
    assert "against seconds" not in words(tree(replace(EVERY["deck"], legs=(mute,))))


def test_forty_legs_of_a_thousand_points_stay_readable_and_small() -> None:
    legs = []
    for number in range(40):
        of = samples.leg(Device.GPU if number % 2 else Device.CPU, place="g4dn.xlarge", batch_size=str(number))
        made = samples.trial(of, 1, 1.0 + number, epochs=120)
        legs.append(samples.result(of, [made], run="run-1", price=0.2))
    text = page.render(replace(EVERY["deck"], legs=tuple(legs)))
    root = ElementTree.fromstring(text)
    assert len(legs[0].trials[0].points) > 1000
    assert len(text) < 2_000_000
    lines = [each.get("d", "") for each in drawing(root, "seconds").iter(f"{SVG}path") if each.get("class") == "curve"]
    assert len(lines) == 40
    assert max(line.count("L") for line in lines) <= 242
    looks = {
        (g.get("class"), g[-1].tag)
        for g in drawing(root, "seconds").iter(f"{SVG}g")
        if (g.get("class") or "")[:1] == "c"
    }
    assert len(looks) > 7


def test_nothing_at_all_is_a_page_too() -> None:
    empty = replace(
        EVERY["deck"], legs=(), ratios=(), parities=(), crossings=(), warnings=(), cited=(), receipts=(), verdict=""
    )
    assert "There are no legs." in words(tree(empty))
    missing = samples.undone(samples.leg(Device.GPU), 1, TrialState.MISSING, "")
    one = replace(empty, legs=(samples.result(samples.leg(Device.GPU), [missing], run="run-1", price=0.0),))
    assert "the run ended before it" in words(tree(one))


def test_one_point_is_a_chart_too() -> None:
    result = lone(Device.CPU, 1.0)
    single = replace(result, trials=(replace(result.trials[0], points=result.trials[0].points[:1]),))
    assert drawing(tree(replace(EVERY["deck"], legs=(single,))), "seconds") is not None


def test_long_names_stand_above_their_bars_and_are_whole() -> None:
    legs = []
    for device, epoch_s in ((Device.CPU, 2.0), (Device.GPU, 0.5)):
        of = samples.leg(device, place="g4dn.xlarge", kernels="2,5", hidden_units="10", epochs="20")
        legs.append(samples.result(of, [samples.trial(of, 1, epoch_s)], run="run-1", price=0.2))
    chart = drawing(tree(replace(EVERY["deck"], legs=tuple(legs))), "phases")
    name = next(each for each in chart.iter(f"{SVG}text") if words(each).startswith("gpu-float32"))
    assert name[0].tail == "gpu-float32.kernels=2,5.hidden_units=10.epochs=20"
    assert float(name.get("x", "")) == 2
    assert bars(chart, "phase")[0][0] == 2


def test_a_run_without_a_machine_is_not_called_ones_own() -> None:
    base = EVERY["no_gpu"]
    assert "one's own machine, no bill" in html.unescape(page.render(base))
    rented = tuple(replace(each, leg=replace(each.leg, place="cpu")) for each in base.legs)
    shown = html.unescape(page.render(replace(base, legs=rented)))
    assert "no machine was had, no bill" in shown
    assert "own machine, no bill" not in shown
