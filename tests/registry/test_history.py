"""The log: what is written reads back, what does not follow is refused, and stages follow from it alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import WeightsError
from launcher.registry import history, version
from launcher.registry.history import Action, Entry, History, Stage

MOVES = st.lists(st.tuples(st.sampled_from(["promote", "rollback", "refuse", "prune"]), st.integers(1, 6)), max_size=30)


def following(log: History, action: Action, *numbers: int) -> Entry:
    crowned = action in history.CROWNING
    return Entry(
        sequence=log.sequence + 1,
        action=action,
        numbers=numbers,
        champion=numbers[0] if crowned else log.champion,
        before=log.champion,
        at="2026-11-21T20:00:00+00:00",
        by="ada@laptop",
        why="",
        token="t",
        previous=log.end.sha256,
        state=log.end.after(action, numbers).state(),
    )


@given(MOVES)
def test_stages_follow_a_simple_model(moves):
    """A stack of champions, beside the log."""
    log, stack, pruned, crowned = History("digits"), [], set(), set()
    for move, number in moves:
        if move == "promote" and number not in pruned and stack[-1:] != [number]:
            stack.append(number)
            crowned.add(number)
            log.take(history.dump(following(log, Action.PROMOTED, number)))
        elif move == "rollback" and log.previous is not None:
            while stack.pop() and (stack[-1] in pruned):
                pass
            log.take(history.dump(following(log, Action.ROLLED_BACK, log.previous)))
        elif move == "refuse":
            log.take(history.dump(following(log, Action.REFUSED, number)))
        elif move == "prune" and number not in stack[-1:]:
            pruned.add(number)
            log.take(history.dump(following(log, Action.PRUNED, number)))
        assert log.champion == (stack[-1] if stack else None)
        for each in range(1, 7):
            expected = Stage.RETIRED if each in crowned else Stage.CHALLENGER
            expected = Stage.PRUNED if each in pruned else expected
            assert log.stage(each) is (Stage.CHAMPION if stack[-1:] == [each] else expected)


@given(MOVES)
@settings(max_examples=30)
def test_a_log_reads_back_as_it_was_written(moves):
    log, texts = History("digits"), []
    for _, number in moves:
        if log.champion != number:
            texts.append(history.dump(following(log, Action.PROMOTED, number)))
            log.take(texts[-1])
    again = History("digits")
    for text in texts:
        again.take(text)
    assert (again.entries, again.champions, again.end) == (log.entries, log.champions, log.end)


def test_an_altered_entry_breaks_the_chain():
    log, texts = History("digits"), []
    for number in (1, 2, 3):
        texts.append(history.dump(following(log, Action.PROMOTED, number)))
        log.take(texts[-1])
    again = History("digits")
    again.take(texts[0].replace(b"ada@laptop", b"eve@laptop"))
    with pytest.raises(WeightsError, match=r"history/00000002\.json is damaged: it does not follow"):
        again.take(texts[1])


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 2},
        {"sequence": True},
        {"champion": 3},
        {"before": 1},
        {"previous": "0" * 64},
        {"numbers": []},
        {"numbers": [1, 2]},
        {"numbers": [0]},
        {"numbers": [True]},
        {"numbers": 1},
        {"action": "pruned"},
        {"action": "crowned"},
        {"format": "gpurun history 9"},
        {"details": []},
        {"by": 7},
        {"surplus": 1},
    ],
)
def test_an_entry_that_does_not_follow_is_refused(change):
    log = History("digits")
    values = json.loads(history.dump(following(log, Action.PROMOTED, 1))) | change
    with pytest.raises(WeightsError, match=r"digits/history/00000001\.json is damaged"):
        log.take(json.dumps(values).encode())


def test_the_champion_is_never_pruned():
    log = History("digits")
    log.take(history.dump(following(log, Action.PROMOTED, 1)))
    with pytest.raises(WeightsError, match="damaged"):
        log.take(history.dump(following(log, Action.PRUNED, 1)))
    log.take(history.dump(following(log, Action.PRUNED, 2)))
    with pytest.raises(WeightsError, match="damaged"):
        log.take(history.dump(following(log, Action.PROMOTED, 2)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GOOD_VERSION = {
    "format": version.FORMAT,
    "name": "digits",
    "number": 3,
    "created_at": "",
    "by": "",
    "token": "",
    "files": [{"name": "w.npz", "size_bytes": 1, "sha256": "0" * 64}],
    "diff": None,
    "about": {
        "run_id": "",
        "parent": 1,
        "notes": [],
        **{part: {} for part in ("spec", "code", "data", "metrics", "receipt")},
    },
}


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_an_error_of_ours(data):
    with pytest.raises(WeightsError):
        History("digits").take(data)
    with pytest.raises(WeightsError):
        version.parse(data, "digits", 3)


@given(st.sampled_from(sorted(GOOD_VERSION)), JSON)
def test_a_version_with_any_part_replaced_parses_or_is_refused(part, value):
    data = json.dumps(GOOD_VERSION | {part: value}).encode()
    try:
        found = version.parse(data, "digits", 3)
    except WeightsError:
        return
    assert version.parse(version.dump(found), "digits", 3) == found


def test_a_good_version_parses():
    assert version.parse(json.dumps(GOOD_VERSION).encode(), "digits", 3).about.parent == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../b", "..", "C:x"])
def test_a_stored_name_that_leads_elsewhere_is_refused(name):
    values = GOOD_VERSION | {"files": [{"name": name, "size_bytes": 1, "sha256": "0" * 64}]}
    with pytest.raises(WeightsError, match="cannot be a file of a version"):
        version.parse(json.dumps(values).encode(), "digits", 3)
