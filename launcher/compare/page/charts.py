"""The page's charts with their headings, legends and notes; a chart that has nothing to draw is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher.compare.page.breakeven import break_even, drawn_points
from launcher.compare.page.curves import curves
from launcher.compare.page.frame import Caption
from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.palette import swatch
from launcher.compare.page.phasebars import legend as phase_legend
from launcher.compare.page.phasebars import phase_bars
from launcher.compare.page.ratiobars import MOST_ROWS, WHAT, drawn_ratios, is_compact, ratio_bars
from launcher.compare.page.series import Series, dollars_of, error_over, phases, seconds_of
from launcher.comparison import Comparison, Crossing, LegResult, Ratio
from launcher.render.figures import clean, figure, tick, tick_dollars
from launcher.render.legcells import is_done
from launcher.render.told import crossing_found, crossing_heading, ratio_sides


def charts(comparison: Comparison) -> Markup:
    """All of them, one after the other."""
    return join(
        *(_break_even(index, each) for index, each in enumerate(comparison.crossings) if len(drawn_points(each)) > 1),
        _ratios(comparison.ratios, money=False),
        _ratios(comparison.ratios, money=True),
        _over_seconds(comparison),
        _over_dollars(comparison),
        _phases(comparison.legs),
    )


def _over_seconds(comparison: Comparison) -> Markup | None:
    what, lines = error_over(comparison.legs, seconds_of)
    if not lines:
        return None
    notes = [*_silent(comparison.legs, lines), *_repeats(lines)]
    heading = f"{what.capitalize()} against seconds"
    return _curves(comparison, lines, heading, ("seconds since the start", tick, what, "seconds"), notes)


def _over_dollars(comparison: Comparison) -> Markup | None:
    what, lines = error_over(comparison.legs, dollars_of)
    if not lines:
        return None
    free = [clean(each.leg.name) for each in comparison.legs if is_done(each) and not each.price_usd_per_hour > 0]
    notes = [f"On one's own machine, and so not here: {', '.join(free)}."] if free else []
    heading = f"{what.capitalize()} against dollars"
    return _curves(comparison, lines, heading, ("US dollars since the start", tick_dollars, what, "dollars"), notes)


def _curves(
    comparison: Comparison,
    lines: Sequence[Series],
    heading: str,
    axis: tuple[str, Callable[[float], str], str, str],
    notes: Sequence[str],
) -> Markup:
    x_title, label, what, ident = axis
    ends = "; ".join(
        f"{line.name} ends at {figure(line.points[-1][1])} at {figure(line.points[-1][0])}"
        for line in lines
        if not line.faint
    )
    target = comparison.target if what == "error" else None

    def draw(kind: str, *, wide: bool) -> Markup:
        caption = Caption(ident=f"{ident}-{kind}", title=heading, description=f"{x_title}: {ends}.")
        return curves(lines, caption, x_title=x_title, x_label=label, y_title=what, target=target, wide=wide)

    return _figure(heading, draw, element("ul", *_entries(lines), class_="legend"), notes)


def _phases(results: Sequence[LegResult]) -> Markup | None:
    if not any(phases(each) for each in results):
        return None

    def draw(kind: str, *, wide: bool) -> Markup:
        return phase_bars(results, ident=f"phases-{kind}", wide=wide)

    several = any(len(each.done) > 1 for each in results)
    notes = ["Of each leg, the trial with the middle elapsed time."] if several else []
    return _figure("Where the time went", draw, phase_legend(), notes)


def _ratios(ratios: Sequence[Ratio], *, money: bool) -> Markup | None:
    found = drawn_ratios(ratios, money=money)
    if not found:
        return None

    def draw(kind: str, *, wide: bool) -> Markup:
        return ratio_bars(found, money=money, ident=f"{'dear' if money else 'fast'}-{kind}", wide=wide)

    notes = [_against(found)] if is_compact(found) else []
    if any(each.count > 1 for each in found):
        notes.append("Whiskers: from the least to the most of the pairs of trials.")
    if any(each.count == 1 for each in found):
        notes.append("Without whiskers: measured once, so that nothing is known of the spread.")
    if len(found) > MOST_ROWS:
        notes.append(f"The first {MOST_ROWS} of {len(found)} ratios.")
    heading = "What it costs" if money else "Speed-up"
    return _figure(heading, draw, None, notes)


def _against(ratios: Sequence[Ratio]) -> str:
    """What the one bar of each leg is."""
    what = " or ".join(dict.fromkeys(WHAT.get(each.what, clean(each.what)) for each in ratios))
    others = {ratio_sides(each)[1] for each in ratios}
    against = others.pop() if len(others) == 1 else "the other device's leg with the same settings"
    return f"Of {what}, each against {against}."


def _break_even(index: int, crossing: Crossing) -> Markup:
    def draw(kind: str, *, wide: bool) -> Markup:
        return break_even(crossing, ident=f"sweep{index}-{kind}", wide=wide)

    found = crossing_found(crossing)
    notes = [f"{found[:1].upper()}{found[1:]}."]
    if crossing.uncertain:
        notes.append(f"Uncertain: {clean(crossing.uncertain)}.")
    return _figure(f"Break-even in {crossing_heading(crossing)}", draw, None, notes)


def _figure(heading: str, draw: Callable[..., Markup], legend: Markup | None, notes: Sequence[str]) -> Markup:
    told = [element("p", note, class_="note") for note in notes]
    return element(
        "figure",
        element("figcaption", element("h3", heading)),
        draw("wide", wide=True),
        draw("narrow", wide=False),
        legend,
        *told,
    )


def _entries(lines: Sequence[Series]) -> list[Markup]:
    return [element("li", swatch(line.look), " ", element("bdi", line.name)) for line in lines if not line.faint]


def _repeats(lines: Sequence[Series]) -> list[str]:
    return ["Pale: the other repeats."] if any(line.faint for line in lines) else []


def _silent(results: Sequence[LegResult], lines: Sequence[Series]) -> list[str]:
    """Legs that ran and told no figures on the way."""
    drawn = {line.name for line in lines}
    silent = [clean(each.leg.name) for each in results if is_done(each) and clean(each.leg.name) not in drawn]
    return [f"Told no figures on the way: {', '.join(silent)}."] if silent else []
