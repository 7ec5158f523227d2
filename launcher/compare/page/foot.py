"""The page's foot: what was bought, what it ran on, with which versions, by which command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from launcher.compare.page.markup import Markup, element, join
from launcher.compare.page.tables import row, scrolling
from launcher.comparison import Comparison, LegResult, Machine
from launcher.domain import RunId, SegmentCost
from launcher.render.figures import clean, dollars, duration
from launcher.render.text import size

MOST_NAMED = 6
"""Legs that are named one by one."""


def foot(comparison: Comparison) -> Markup:
    """All of it."""
    return join(
        _section("Receipts", [_receipt(*each, own=each[0] in _own(comparison.legs)) for each in comparison.receipts]),
        _section("Machines", [_machines(comparison.legs)] if any(_ran_on(each) for each in comparison.legs) else []),
        _section("Versions", [_versions(comparison.legs)] if any(_told(each) for each in comparison.legs) else []),
        _section("Command", [element("pre", element("code", shlex.join(clean(each) for each in comparison.command)))]),
        element(
            "p",
            f"Comparison {clean(comparison.comparison_id)}, begun {comparison.created_at:%Y-%m-%d %H:%M %Z}, ",
            f"by gpurun {clean(comparison.version) or 'of an unknown version'}.",
            class_="note",
        ),
    )


def _section(heading: str, parts: Sequence[Markup]) -> Markup | None:
    return element("section", element("h2", heading), *parts) if parts else None


def _own(results: Sequence[LegResult]) -> set[RunId | None]:
    """The runs on machines of the user's own."""
    return {each.run_id for each in results if each.leg.on_own_machine}


def _receipt(run_id: RunId, cost_usd: float, segments: Sequence[SegmentCost], *, own: bool) -> Markup:
    headings = ("#", "type", "market", "zone", "$/h", "billed s", "$", "ended by")
    rows = [
        row(
            (
                each.number,
                clean(each.instance_type),
                clean(each.market),
                clean(each.zone),
                dollars(each.price_usd_per_hour),
                each.billed_s,
                dollars(each.cost_usd),
                clean(each.ended_by) or ("the run" if each.ended_at else "still there"),
            )
        )
        for each in segments
    ]
    billed_s = sum(each.billed_s for each in segments)
    said = f": {dollars(cost_usd)} in all, for {duration(billed_s)}"
    if not segments:
        said = ": one's own machine, no bill" if own else ": no machine was had, no bill"
    table = scrolling(element("thead", row(headings, heading=True)), element("tbody", *rows), label="machines of a run")
    return join(element("p", element("strong", clean(run_id)), said), table if rows else None)


def _machines(results: Sequence[LegResult]) -> Markup:
    legs: dict[Machine, list[str]] = {}
    for result in results:
        for machine in _ran_on(result):
            legs.setdefault(machine, []).append(clean(result.leg.name))
    headings = ("processor", "vCPUs", "memory", "GPU", "driver", "system", "legs")
    rows = [
        row(
            (
                clean(each.processor) or "-",
                each.vcpus,
                size(each.memory_bytes),
                clean(each.gpu) or "none",
                clean(each.driver) or "-",
                clean(each.system) or "-",
                _named(names, len(results)),
            )
        )
        for each, names in legs.items()
    ]
    return scrolling(element("thead", row(headings, heading=True)), element("tbody", *rows), label="machines")


def _versions(results: Sequence[LegResult]) -> Markup:
    """A library a row where all legs agree; where they do not, a row for each of its versions."""
    legs: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for told in _told(result):
            legs.setdefault((clean(told[0]), clean(told[1])), []).append(clean(result.leg.name))
    telling = sum(bool(_told(result)) for result in results)
    rows = [row((name, version, _named(names, telling))) for (name, version), names in sorted(legs.items())]
    return scrolling(
        element("thead", row(("what", "version", "legs"), heading=True)), element("tbody", *rows), label="versions"
    )


def _ran_on(result: LegResult) -> list[Machine]:
    return list(dict.fromkeys(trial.machine for trial in result.trials if trial.machine))


def _told(result: LegResult) -> list[tuple[str, str]]:
    return list(dict.fromkeys(each for trial in result.trials for each in trial.versions))


def _named(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return "all"
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
