"""Where a log ends, told by its newest entries; and logs that were begun before entries said so."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import WeightsError
from launcher.registry import entry, spans
from launcher.registry.head import Head
from launcher.registry.history import Action, History, dump, key
from launcher.registry.prune import prune
from launcher.registry.registry import Registry
from launcher.registry.store import Store
from launcher.registry.verify import verify
from tests.registry.conftest import NAME
from tests.registry.intruder import lay
from tests.registry.test_history import following

STATELESS = "gpurun history 1"


class Counting:
    """A store that counts the documents it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read_keys: Counter[str] = Counter()

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def read(self, key: str) -> bytes | None:
        self.read_keys[key] += 1
        return self._store.read(key)

    def read_many(self, keys: list[str]) -> list[bytes | None]:
        self.read_keys.update(keys)
        return self._store.read_many(keys)

    def entries(self) -> int:
        return sum(count for key, count in self.read_keys.items() if "/history/" in key)


def write(store: Store, sequence: int, data: bytes | None) -> None:
    """Put something in an entry's place, or remove it."""
    lay(store, key(NAME, sequence), data)


def altered(store: Store, place: int, **changes: object) -> None:
    values = json.loads(store.read(key(NAME, place)))
    write(store, place, json.dumps({**values, **changes}).encode())


@pytest.fixture
def long(store: Store, add) -> Registry:
    """Two versions that took turns for 30 entries; what is known of them is forgotten."""
    first = Registry(store)
    for value in (1, 2, 3):
        add(first, value)
    for turn in range(30):
        first.promote(NAME, 1 + turn % 2)
    return Registry(store)


def test_a_promotion_reads_two_entries_of_many_and_a_reader_each_once(long):
    counting = Counting(long.store)
    change = Registry(counting).promote(NAME, 3)
    assert change.entry.sequence == 31
    assert counting.entries() == 2
    reader = Registry(Counting(long.store))
    assert reader.history(NAME).sequence == 31
    long.promote(NAME, 1)
    assert [reader.history(NAME).sequence for _ in range(3)] == [32, 32, 32]
    counted = {key: count for key, count in reader.store.read_keys.items() if "/history/" in key}
    assert counted.pop(key(NAME, 33)) == 2  # a look whether it is there
    assert counted == {key(NAME, sequence): 1 for sequence in range(1, 33)}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": {"crowned": 3, "pruned": []}},
        {"state": {"crowned": 30, "pruned": [[3, 3]]}},
        {"champion": 3, "numbers": [3], "before": 2},
        {"previous": "0" * 64},
        {"sequence": 29},
        {"why": "altered"},
    ],
)
@pytest.mark.parametrize("sequence", [29, 30])
def test_a_writer_holds_the_newest_entry_against_the_one_before(long, sequence, changes):
    altered(long.store, sequence, **changes)
    # Of words in the last one nothing that follows could tell, but the address does.
    with pytest.raises(
        WeightsError, match=r"000000(29|30)\.json(, which digits/champion follows, was altered| is damaged)"
    ):
        long.promote(NAME, 3)
    assert long.store.read(key(NAME, 31)) is None


def test_a_reader_is_told_of_what_was_altered_long_ago(long):
    altered(long.store, 7, why="altered")
    assert long.promote(NAME, 3).entry.sequence == 31
    with pytest.raises(WeightsError, match=r"00000008\.json is damaged: it does not follow"):
        Registry(long.store).history(NAME)
    assert verify(Registry(long.store), [NAME]).findings[0].about == NAME


def test_a_writer_is_told_of_a_hole(long):
    write(long.store, 7, None)
    with pytest.raises(WeightsError, match=r"00000007\.json is missing: the log of digits has a hole"):
        long.promote(NAME, 3)


def test_a_writer_that_knew_more_than_is_left_does_not_go_on(long):
    """Entries at the end that are gone are no free places for who knows of them."""
    assert long.head(NAME).sequence == 30
    write(long.store, 30, None)
    change = long.promote(NAME, 3)
    assert change.entry.sequence == 31
    with pytest.raises(WeightsError, match=r"00000030\.json is missing"):
        Registry(long.store).head(NAME)


def stateless(registry: Registry, *numbers: int) -> None:
    """Promotions as they were written before entries carried a state."""
    for number in numbers:
        log = registry.history(NAME)
        line = replace(following(log, Action.PROMOTED, number), state=None)
        assert json.loads(dump(line)).keys() == {
            *("format", "sequence", "action", "numbers", "champion", "before", "at", "by", "why", "token"),
            *("previous", "details"),
        }
        assert registry.store.create(key(NAME, line.sequence), dump(line))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_log_of_the_first_format_is_read_and_gone_on_with(store, add, count):
    first = Registry(store)
    for value in (1, 2, 3):
        add(first, value)
    stateless(first, *(1 + turn % 2 for turn in range(count)))
    assert json.loads(store.read(key(NAME, count)))["format"] == STATELESS
    assert Registry(store).history(NAME).sequence == count
    change = Registry(store).promote(NAME, 3, expected_champion=1 + (count - 1) % 2)
    assert change.entry.sequence == count + 1
    assert json.loads(store.read(key(NAME, count + 1)))["format"] == entry.FORMAT
    for _ in range(2):
        Registry(store).promote(NAME, 1)
        Registry(store).promote(NAME, 3)
    log = Registry(store).history(NAME)
    assert (log.sequence, log.champion, log.end.crowned) == (count + 5, 3, count + 5)
    assert Registry(store).head(NAME) == log.end
    assert Registry(store).rollback(NAME).version.number == 1


def test_a_log_of_a_later_gpurun_is_named_as_that(long):
    altered(long.store, 30, format="gpurun history 4")
    with pytest.raises(WeightsError, match=r"its format is 'gpurun history 4', and this gpurun reads those up to"):
        long.promote(NAME, 3)
    with pytest.raises(WeightsError, match="gpurun history 4"):
        Registry(long.store).history(NAME)


def test_a_pruned_version_is_refused_by_the_newest_entry_alone(store, add):
    first = Registry(store)
    for value in range(5):
        add(first, value)
    first.promote(NAME, 5)
    prune(first, [NAME], keep=1, grace_s=-60)
    for _ in range(3):
        first.note(NAME, 5, Action.REFUSED, why="-")
    counting = Counting(store)
    with pytest.raises(WeightsError, match="digits@3 was pruned"):
        Registry(counting).promote(NAME, 3)
    assert counting.entries() == 2
    assert Registry(store).head(NAME).pruned == ((1, 4),)


MOVES = st.lists(st.tuples(st.sampled_from(Action), st.sets(st.integers(1, 9), min_size=1, max_size=3)), max_size=20)


@given(MOVES)
def test_the_last_entry_says_what_all_of_them_say(moves):
    log = History(NAME)
    for action, several in moves:
        numbers = tuple(several) if action is Action.PRUNED else (min(several),)
        try:
            log.take(dump(following(log, action, *numbers)))
        except WeightsError:
            continue
        crownings = [each.sequence for each in log.entries if each.action in {Action.PROMOTED, Action.ROLLED_BACK}]
        assert (log.end.champion, log.end.crowned) == (log.champion, crownings[-1] if crownings else 0)
        assert {number for number in range(1, 10) if spans.holds(log.end.pruned, number)} == log.pruned
        assert log.end.sequence == log.sequence


@given(st.lists(st.sets(st.integers(1, 40), max_size=8)))
def test_spans_are_sets_of_numbers(sets):
    joined: spans.Spans = ()
    for each in sets:
        joined = spans.joined(joined, each)
    numbers = set().union(*sets)
    assert {number for number in range(1, 42) if spans.holds(joined, number)} == numbers
    assert spans.parse(json.loads(json.dumps(joined))) == joined


@pytest.mark.parametrize(
    "value", [None, 3, [[1]], [[1, 2, 3]], [[2, 1]], [[0, 1]], [[1, 2], [3, 4]], [[5, 6], [1, 2]], [[True, 2]], ["12"]]
)
def test_what_is_no_spans_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        spans.parse(value)


@pytest.mark.parametrize(
    "state", [None, [], 3, {}, {"crowned": 1}, {"crowned": -1, "pruned": []}, {"crowned": True, "pruned": []}]
)
def test_a_state_that_is_none_is_refused(state):
    values = json.loads(dump(following(History(NAME), Action.PROMOTED, 1)))
    with pytest.raises(WeightsError, match=r"00000001\.json is damaged"):
        History(NAME).take(json.dumps({**values, "state": state}).encode())


def test_the_head_of_nothing():
    assert History(NAME).end == Head()
