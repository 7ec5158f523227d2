"""How long legs took before, held against the time that their machine is given."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.comparison import Comparison, Leg


def too_short(legs: Sequence[Leg], repeats: int, hours: float, earlier: Sequence[Comparison]) -> str:
    """In plain words, that the machine ends before its legs do by what `earlier` comparisons took, newest first.

    Empty: it does not, or nobody knows. A leg counts where it ran in such a place, as long as it took there.
    """
    took = {(each.leg.name, each.leg.place): each for one in reversed(earlier) for each in one.legs if each.elapsed_s}
    known = [found for leg in legs if (found := took.get((leg.name, leg.place)))]
    needed_h = sum(each.elapsed_s.median for each in known if each.elapsed_s) * repeats / 3600
    if needed_h <= hours:
        return ""
    which = "all legs" if len(known) == len(legs) else f"{len(known)} of {len(legs)} legs"
    times = "" if repeats == 1 else f", {repeats} times each"
    return (
        f"by the last comparisons {which}{times} take {needed_h:.2g} h on {legs[0].place}, and the machine ends after"
        f" {hours:.2g} h: what is not done by then is missing; --max-hours, --max-cost, or fewer legs"
    )
