"""Figures that others measured of a leg, beside ours: for the terminal, for a pipe and for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from launcher.comparison import Comparison, LegResult
from launcher.domain import CitedLeg, Device
from launcher.render.figures import NONE, clean, figure, median, seconds, shorten, times
from launcher.render.legcells import is_done

NOTE = "Theirs are of their own machines and data."
SPEED_UPS = {"train": "train_s", "elapsed": "elapsed_s"}
"""What ratios are of, and the cited figure that it is reckoned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A leg of ours, and what somebody told of such a leg."""

    leg: LegResult
    cited: CitedLeg
    ours: dict[str, float] = field(default_factory=dict)
    """How many times as fast as the CPU's leg the GPU's is, by `train` and `elapsed`, where it was measured."""
    theirs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two columns: the figure as it was measured here, and as it was told."""

    heading: str
    word: str
    """In a sentence."""
    ours: Callable[[Beside], str]
    theirs: Callable[[Beside], str]


def besides(comparison: Comparison) -> list[Beside]:
    """Each of our legs that was measured elsewhere too, in the order of what is cited."""
    return [
        Beside(leg=leg, cited=cited, ours=_ours(cited, leg, comparison), theirs=_theirs(cited, comparison.cited_legs))
        for cited in comparison.cited_legs
        for leg in comparison.legs
        if _is_of(cited, leg)
    ]


def pairs(found: Sequence[Beside]) -> list[Pair]:
    """The columns in which somebody has told something."""
    return [pair for pair in PAIRS if any(pair.theirs(each) != NONE for each in found)]


def lines(comparison: Comparison) -> list[tuple[str, str]]:
    """(What, figure): the lines of text, and then figures of legs that are none of ours."""
    alone = [each for each in comparison.cited_legs if not any(_is_of(each, leg) for leg in comparison.legs)]
    told = [(name(each), _told(each, comparison.cited_legs)) for each in alone]
    return [(clean(what), clean(figure_)) for what, figure_ in (*comparison.cited, *told)]


def sources(found: Sequence[Beside]) -> list[str]:
    """Whose the figures are, and where they are told: one line for each of them."""
    told: dict[str, dict[str, None]] = {}
    for each in found:
        told.setdefault(clean(each.cited.by), {}).update(dict.fromkeys(filter(None, [clean(each.cited.source)])))
    said = [": ".join(filter(None, (by, "; ".join(places)))) for by, places in told.items()]
    return [each for each in said if each]


def row_name(each: Beside, found: Sequence[Beside]) -> str:
    """The leg's; with whose figures they are where several have told of it."""
    several = sum(other.leg is each.leg for other in found) > 1
    return clean(each.leg.leg.name) + (f" ({clean(each.cited.by)})" if several and each.cited.by else "")


def cells(each: Beside, columns: Sequence[Pair]) -> list[str]:
    """Ours and theirs, in turn."""
    return [cell for pair in columns for cell in (pair.ours(each), pair.theirs(each))]


def text(comparison: Comparison, width: int) -> list[str]:
    """A table where it fits into `width`, else a sentence a leg; then whose figures they are."""
    found = besides(comparison)
    if not found:
        return []
    columns = pairs(found)
    head = ["leg", *(word for pair in columns for word in (pair.heading, "theirs"))]
    most = max(14, width // 3)
    rows = [[shorten(row_name(each, found), most), *cells(each, columns)] for each in found]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        told = [_aligned(row, widths) for row in (head, *rows)]
    else:
        told = [_sentence(each, row_name(each, found), columns) for each in found]
    return [*told, *(f"theirs: {each}" for each in sources(found)), NOTE]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    figures = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([cells[0].ljust(widths[0]), *figures])


def _sentence(each: Beside, who: str, columns: Sequence[Pair]) -> str:
    known = [pair for pair in columns if pair.theirs(each) != NONE]
    if not is_done(each.leg):
        said = ", ".join(f"{pair.word} {pair.theirs(each)}" for pair in known)
        return f"{who}: {each.leg.state.value} here; theirs: {said}"
    told = [f"{pair.word} {pair.ours(each)}, theirs {pair.theirs(each)}" for pair in known]
    return f"{who}: {'; '.join(told)}"


def name(cited: CitedLeg) -> str:
    """`gpu, hidden_units 100 (GRID K520)`."""
    words = [cited.device.value, *filter(None, [cited.floatx, cited.backend])]
    words += [f"{setting} {value}" for setting, value in cited.settings]
    return ", ".join(words) + (f" ({cited.by})" if cited.by else "")


def _told(cited: CitedLeg, every: Sequence[CitedLeg]) -> str:
    faster = _theirs(cited, every)
    words = [
        f"{seconds(cited.train_s)} s of training" if cited.train_s is not None else "",
        f"{seconds(cited.elapsed_s)} s in all" if cited.elapsed_s is not None else "",
        f"error {figure(cited.error)}" if cited.error is not None else "",
        f"{times(faster['train'])} as fast in training as its CPU" if "train" in faster else "",
        f"{times(faster['elapsed'])} as fast in all" if "elapsed" in faster else "",
    ]
    return ", ".join(filter(None, words)) + (f" ({cited.source})" if cited.source else "")


def _is_of(cited: CitedLeg, leg: LegResult) -> bool:
    """Whether a figure is of such a leg: other settings are other work."""
    mine = leg.leg
    return (
        cited.device is mine.device
        and cited.floatx in {None, mine.floatx}
        and cited.backend in {"", mine.backend}
        and dict(cited.settings) == dict(mine.settings)
    )


def _twins(cited: CitedLeg, every: Sequence[CitedLeg]) -> list[CitedLeg]:
    """Of a GPU's figures, the CPU's that the same one has told of the same work."""
    if cited.device is not Device.GPU:
        return []
    way = (cited.floatx, cited.backend, dict(cited.settings), cited.by)
    return [
        each
        for each in every
        if each.device is Device.CPU and (each.floatx, each.backend, dict(each.settings), each.by) == way
    ]


def _theirs(cited: CitedLeg, every: Sequence[CitedLeg]) -> dict[str, float]:
    found = {}
    for what, figure_ in SPEED_UPS.items():
        mine = getattr(cited, figure_)
        others = [other for twin in _twins(cited, every) if (other := getattr(twin, figure_)) is not None]
        if mine and others:
            found[what] = others[0] / mine
    return found


def _ours(cited: CitedLeg, leg: LegResult, comparison: Comparison) -> dict[str, float]:
    """Against the leg that the CPU's figures stand beside."""
    twins = _twins(cited, comparison.cited_legs)
    cpus = {each.leg.name for each in comparison.legs if any(_is_of(twin, each) for twin in twins)}
    found: dict[str, float] = {}
    for ratio in comparison.ratios:
        if ratio.what in SPEED_UPS and ratio.denominator == leg.leg.name and ratio.numerator in cpus:
            found.setdefault(ratio.what, ratio.value)
    return found


def _measured(cell: Callable[[LegResult], str]) -> Callable[[Beside], str]:
    """Of a leg that was not run its state stands there: nothing is made up."""
    return lambda each: cell(each.leg) if is_done(each.leg) else each.leg.state.value


PAIRS = (
    Pair(
        heading="train s",
        word="seconds of training",
        ours=_measured(lambda leg: seconds(median(leg.train_s))),
        theirs=lambda each: seconds(each.cited.train_s),
    ),
    Pair(
        heading="elapsed s",
        word="seconds in all",
        ours=_measured(lambda leg: seconds(median(leg.elapsed_s))),
        theirs=lambda each: seconds(each.cited.elapsed_s),
    ),
    Pair(
        heading="error",
        word="error",
        ours=_measured(lambda leg: figure(leg.final_error)),
        theirs=lambda each: figure(each.cited.error),
    ),
    Pair(
        heading="speed-up",
        word="speed-up in training",
        ours=lambda each: times(each.ours.get("train")),
        theirs=lambda each: times(each.theirs.get("train")),
    ),
    Pair(
        heading="in all",
        word="speed-up in all",
        ours=lambda each: times(each.ours.get("elapsed")),
        theirs=lambda each: times(each.theirs.get("elapsed")),
    ),
)
"""A speed-up is the CPU's seconds over the GPU's."""
