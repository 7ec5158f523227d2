"""The order in which tests are dealt out."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from tests.ordering import longest_first


def item(limit_s):
    marker = None if limit_s is None else SimpleNamespace(args=(limit_s,))
    return SimpleNamespace(get_closest_marker=lambda _: marker, long=limit_s is not None and limit_s > 600)


LIMITS = st.lists(st.sampled_from([None, None, None, 60, 600, 900]), max_size=60)


@given(LIMITS, st.integers(1, 8))
def test_every_test_runs_once(limits, workers):
    items = [item(limit) for limit in limits]
    assert sorted(map(id, longest_first(items, workers))) == sorted(map(id, items))


def test_each_worker_begins_with_its_share_of_the_long_ones():
    items = [item(limit) for limit in [None] * 30 + [900] * 4 + [None] * 6]
    ordered = longest_first(items, 4)
    assert [ordered[start].long for start in (0, 10, 20, 30)] == [True] * 4


def test_alone_the_rest_keeps_its_order():
    items = [item(None) for _ in range(5)]
    assert longest_first(items, 1) == items
