"""Pruning: who stays, who goes, and what a rollback can count on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import WeightsError
from launcher.registry.champion import Champion
from launcher.registry.history import Action, History, Stage, dump
from launcher.registry.prune import goners, prune
from launcher.registry.registry import Registry
from launcher.registry.verify import verify
from tests.registry.conftest import NAME
from tests.registry.test_history import following

AT_ONCE = -60.0
"""No grace: what was written this moment may go."""


def test_the_champion_those_before_it_and_the_newest_stay(registry, add):
    for value in range(8):
        add(registry, value)
    for number in (1, 2, 3):
        registry.promote(NAME, number)
    would = prune(registry, [NAME], keep=1, grace_s=AT_ONCE, rehearsal=True)
    assert (len(would.versions), would.objects, registry.history(NAME).sequence) == (5, 5, 3)
    done = prune(registry, [NAME], keep=1, grace_s=AT_ONCE)
    assert done == would
    log = registry.history(NAME)
    assert {number: log.stage(number) for number in range(1, 9)} == {
        1: Stage.PRUNED,
        2: Stage.RETIRED,
        3: Stage.CHAMPION,
        4: Stage.PRUNED,
        5: Stage.PRUNED,
        6: Stage.PRUNED,
        7: Stage.PRUNED,
        8: Stage.CHALLENGER,
    }
    assert len(registry.store.objects()) == 3
    assert verify(registry, [NAME]).findings == ()
    assert registry.version(NAME, 5).about is not None
    with pytest.raises(WeightsError, match=r"digits@5 was pruned: its pedigree is kept"):
        registry.promote(NAME, 5)
    assert registry.rollback(NAME).version.number == 2
    with pytest.raises(WeightsError, match="no champion before"):
        registry.rollback(NAME)
    assert prune(registry, [NAME], keep=1, grace_s=AT_ONCE).versions == ((NAME, 3),)


def test_an_object_that_another_version_has_too_stays(registry, add, weights_file):
    add(registry, 1)
    add(registry, 1)
    registry.add("other", {"weights.npz": weights_file(99)})
    registry.promote(NAME, 2)
    prune(registry, [NAME], keep=0, grace_s=AT_ONCE)
    assert registry.history(NAME).pruned == {1}
    assert verify(registry, [NAME, "other"]).findings == ()
    assert len(registry.store.objects()) == 2


def test_young_objects_are_left_alone(registry, add):
    for value in (1, 2):
        add(registry, value)
    registry.promote(NAME, 2)
    done = prune(registry, [NAME], keep=0)
    assert (done.versions, done.objects, done.waiting) == (((NAME, 1),), 0, 1)
    again = prune(registry, [NAME], keep=0, grace_s=AT_ONCE)
    assert (again.objects, again.waiting) == (1, 0)


def test_a_promotion_that_was_meant_for_a_pruned_version_is_refused(registry, add):
    """The other had looked at it before it was pruned."""
    for value in (1, 2, 3):
        add(registry, value)
    registry.promote(NAME, 3)
    other = Registry(registry.store)
    stale = other.history(NAME)
    entry = other.entry(stale.end, Action.PROMOTED, (1,))
    prune(registry, [NAME], keep=0, grace_s=AT_ONCE)
    assert not other.append(NAME, entry)
    with pytest.raises(WeightsError, match="was pruned"):
        other.promote(NAME, 1)


def test_the_loader_goes_on_over_a_prune(local, add):
    for value in (1, 2):
        add(local, value)
    local.promote(NAME, 1)
    champion = Champion(NAME, local.store.uri)
    champion.read()
    local.promote(NAME, 2)
    prune(local, [NAME], keep=0, grace_s=AT_ONCE)
    assert champion.read().number == 2


@given(st.lists(st.integers(1, 12), max_size=15), st.integers(0, 6))
def test_what_is_needed_never_goes(promotions, keep):
    log = History(NAME)
    for number in promotions:
        if number != log.champion:
            log.take(dump(following(log, Action.PROMOTED, number)))
    numbers = list(range(1, 13))
    going = goners(log, numbers, keep)
    assert log.champion not in going
    assert not set(log.champions[-(keep + 1) :]) & set(going)
    assert not set(numbers[len(numbers) - keep :]) & set(going)
    assert len(numbers) - len(going) <= 2 * keep + 1
