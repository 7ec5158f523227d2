"""What others do at the worst moment, between two steps of one writer or reader: races find it by luck, this always."""

from __future__ import annotations

from collections.abc import Callable

from launcher.registry.champion import Champion
from launcher.registry.prune import prune
from launcher.registry.registry import Registry
from launcher.registry.store import Store
from launcher.registry.verify import verify
from tests.registry.conftest import NAME

AT_ONCE = -60.0


class Interrupted:
    """A store where, right before the first call of one method, something else happens."""

    def __init__(self, store: Store, method: str, happens: Callable[[], object], *, when: str = "") -> None:
        self._store = store
        self._method = method
        self._happens = happens
        self._when = when

    def __getattr__(self, name: str):
        real = getattr(self._store, name)
        if name != self._method:
            return real

        def call(*arguments, **options):
            if self._when in str(arguments) and (happens := self._happens):
                self._happens = None
                happens()
            return real(*arguments, **options)

        return call


def test_a_version_that_is_added_before_its_object_is_set_aside_keeps_it(store, add):
    """The prune has read the versions by then, and takes the object for unneeded."""
    first = Registry(store)
    for value in (1, 2):
        add(first, value)
    first.promote(NAME, 2)
    pruner = Registry(Interrupted(store, "set_aside", lambda: add(Registry(store), 1)))
    assert prune(pruner, [NAME], keep=0, grace_s=AT_ONCE).objects == 0
    assert Registry(store).numbers(NAME) == [1, 2, 3]
    assert verify(Registry(store), [NAME]).findings == ()
    assert store.trash() == []


def test_an_object_that_goes_before_its_version_is_written_is_put_back(store, add, weights_file):
    """The prune could not know of the version, and the object lay there unneeded."""
    first = Registry(store)
    for value in (1, 2):
        add(first, value)
    first.promote(NAME, 2)
    others = Interrupted(
        store, "create", lambda: prune(Registry(store), [NAME], keep=0, grace_s=AT_ONCE), when="versions/3.json"
    )
    version = Registry(others).add(NAME, {"weights.npz": weights_file(1)})
    assert version.number == 3
    assert Registry(store).history(NAME).pruned == {1}
    assert verify(Registry(store), [NAME]).findings == ()


def test_who_points_last_points_at_the_newest(store, add):
    """Another promotes and points between this one's promotion and its pointing."""
    first = Registry(store)
    for value in (1, 2):
        add(first, value)
    Registry(Interrupted(store, "point", lambda: Registry(store).promote(NAME, 2))).promote(NAME, 1)
    assert Registry(store).history(NAME).champion == 2
    assert store.pointed(NAME) == 2


def test_a_champion_that_is_pruned_while_it_is_read_gives_the_next(store, add):
    first = Registry(store)
    for value in (1, 2):
        add(first, value)
    first.promote(NAME, 1)

    def replaced() -> None:
        other = Registry(store)
        other.promote(NAME, 2)
        prune(other, [NAME], keep=0, grace_s=AT_ONCE)

    champion = Champion(NAME, "unused")
    champion._registry = Registry(Interrupted(store, "open", replaced))
    weights = champion.read()
    assert (weights.number, (weights.arrays["w"] == 2).all(), champion.changed()) == (2, True, False)


def test_a_promotion_that_comes_between_is_seen_by_who_compared(store, add):
    import pytest

    from launcher.errors import ChampionMoved

    first = Registry(store)
    for value in (1, 2, 3):
        add(first, value)
    first.promote(NAME, 1)
    late = Registry(Interrupted(store, "create", lambda: Registry(store).promote(NAME, 2), when="history/"))
    with pytest.raises(ChampionMoved):
        late.promote(NAME, 3, expected_champion=1)
    assert Registry(store).history(NAME).champion == 2
