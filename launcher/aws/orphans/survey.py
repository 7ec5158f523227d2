"""The search: every kind in every enabled region, all regions at once."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from launcher.aws import regions
from launcher.aws.orphans.found import KINDS, Orphan, Survey, Unsearched, in_order
from launcher.aws.orphans.looks import LOOKS
from launcher.errors import CredentialsError, GpurunError, NotPermitted

if TYPE_CHECKING:
    from launcher.aws.client import Aws

SURVEY_TIMEOUT_S = 25.0
"""A region far away answers ten questions in three seconds; what takes longer is ill and must not hold the rest up."""

Outcome = list[Orphan] | GpurunError
Outcomes = dict[tuple[str, str], Outcome]
"""(region, kind) -> what was found, or why not."""


def find(aws: Aws) -> list[Orphan]:
    """All that carries a tag of ours in this region, in the order of `KINDS`.

    What goes with its machine (an attached volume, a network interface) is not listed apart.
    """
    return in_order(each for kind in KINDS for each in _look(aws, kind))


def survey(aws: Aws, *, timeout_s: float = SURVEY_TIMEOUT_S) -> Survey:
    """Search every enabled region, for `timeout_s` at most.

    What fails, or is not answered in time, is named in the answer; the rest is searched all the same. Raises what AWS
    answers when it cannot be asked for the regions.
    """
    names = sorted({aws.region, *regions.enabled(aws)})
    outcomes = _search(aws, names, timeout_s)
    unsearched = [_unsearched(aws.region, outcomes, region, kind) for region in names for kind in KINDS]
    found = [each for outcome in outcomes.values() if isinstance(outcome, list) for each in outcome]
    return Survey(orphans=tuple(in_order(found)), unsearched=tuple(each for each in unsearched if each))


def _search(aws: Aws, names: list[str], timeout_s: float) -> Outcomes:
    """One thread for each region, which nobody waits for at the end: a region may take minutes to say nothing."""
    told: queue.SimpleQueue[tuple[str, str, Outcome]] = queue.SimpleQueue()
    for name in names:
        threading.Thread(target=_search_region, args=(aws.at(name), told), name=f"gc-{name}", daemon=True).start()
    outcomes: Outcomes = {}
    deadline = time.monotonic() + timeout_s
    while len(outcomes) < len(names) * len(KINDS):
        try:
            region, kind, outcome = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        outcomes[region, kind] = outcome
    return outcomes


def _search_region(aws: Aws, told: queue.SimpleQueue[tuple[str, str, Outcome]]) -> None:
    for kind in KINDS:
        try:
            outcome: Outcome = _look(aws, kind)
        except GpurunError as error:
            outcome = error
        told.put((aws.region, kind, outcome))


def _look(aws: Aws, kind: str) -> list[Orphan]:
    with aws.errors(f"look for what runs have left ({kind})"):
        return LOOKS[kind](aws)


def _unsearched(home: str, outcomes: Outcomes, region: str, kind: str) -> Unsearched | None:
    outcome = outcomes.get((region, kind))
    if isinstance(outcome, list):
        return None
    if outcome is None:
        return Unsearched(region=region, kind=kind, why="it did not answer in time", closed=False)
    # What we may do at home and not there is forbidden by region: then no launch of ours got in there either.
    refused = isinstance(outcome, (NotPermitted, CredentialsError))
    closed = refused and isinstance(outcomes.get((home, kind)), list)
    return Unsearched(region=region, kind=kind, why=outcome.message, closed=closed)
