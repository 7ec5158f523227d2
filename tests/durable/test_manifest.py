"""A manifest was written by a machine: nothing of it is believed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws.durable.generation import parse
from launcher.errors import TransferError

DIGEST = "ab" * 32
GOOD: dict[str, Any] = {
    "format": 1,
    "run": "run-1",
    "segment": 1,
    "number": 7,
    "at": 1.5e9,
    "final": False,
    "job": {"state": "running", "exit_status": None, "ended_by": None},
    "checkpoint": [
        ["a/b", "f", 3, 5, 0o644, "", [["objects/0001-ab-000001", DIGEST, 3]]],
        ["a", "d", 0, 0, 0o755, "", []],
    ],
    "output": [["w", "f", 4, 5, 0o644, "", [["results/w", DIGEST, 4]]], ["l", "l", 0, 0, 0, "w", []]],
    "log": {"base": 0, "chunks": [[0, "objects/0001-ab-000002", DIGEST, 9]]},
}


def read(said: Any) -> Any:
    return parse(json.dumps(said).encode(), "run-1")


def test_a_good_one() -> None:
    found = read(GOOD)
    assert (found.number, found.files, found.size_bytes, found.log_bytes) == (7, 2, 7, 9)
    assert not found.complete


def changed(*path: Any, value: Any) -> Any:
    said = copy.deepcopy(GOOD)
    place = said
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return said


@pytest.mark.parametrize(
    "said",
    [
        changed("format", value=2),
        changed("run", value="another"),
        changed("number", value=-1),
        changed("segment", value="1"),
        changed("at", value=float("nan")),
        changed("at", value=1e300),
        changed("checkpoint", 0, 3, value=1 << 80),
        *(changed("checkpoint", 0, 0, value=name) for name in ("", "/etc/x", "../x", "a/../../x", "a//b", "a\0b", 7)),
        *(changed("output", 0, 0, value=name) for name in ("\ud800", "w\ud800x")),
        changed("output", 1, 5, value="\ud800"),
        changed("output", 0, 6, 0, 0, value="results/\udcff"),
        changed("job", "state", value="\udcff"),
        changed("job", "ended_by", value=["x"]),
        changed("checkpoint", 0, 1, value="x"),
        changed("checkpoint", 0, 2, value=4),
        changed("checkpoint", 1, 1, value="l"),
        changed("checkpoint", 1, 0, value="a/b"),
        *(changed("output", 1, 5, value=target) for target in ("", "/etc/passwd", "../x", "x/../../y", "a\0")),
        *(
            changed("output", 0, 6, 0, 0, value=key)
            for key in ("../other/w", "results/../x", "generations/1", "objects/a/b")
        ),
        changed("output", 0, 6, 0, 1, value="AB" * 32),
        changed("output", 0, 6, 0, 2, value=-4),
        changed("log", value=None),
        [],
        None,
    ],
    ids=str,
)
def test_anything_else_is_refused(said: Any) -> None:
    with pytest.raises(TransferError):
        read(said)


def test_what_lies_below_a_link_is_refused() -> None:
    said = copy.deepcopy(GOOD)
    said["output"].append(["l/x", "f", 0, 0, 0, "", []])
    with pytest.raises(TransferError):
        read(said)


def test_what_lies_below_a_folder_that_is_not_named_is_refused() -> None:
    """There may be a link by that name, of a generation that came before."""
    said = copy.deepcopy(GOOD)
    said["output"].append(["x/y", "l", 0, 0, 0, "../z", []])
    with pytest.raises(TransferError):
        read(said)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), json_values)
def test_no_nonsense_gets_through_or_raises_anything_else(field: str, value: Any) -> None:
    try:
        found = read({**GOOD, field: value})
    except TransferError:
        return
    names = [item.name for item in (*found.checkpoint, *found.output)]
    assert not [name for name in names if name.startswith("/") or ".." in name.split("/")]


@given(st.binary(max_size=200))
def test_bytes_are_no_manifest(text: bytes) -> None:
    with pytest.raises(TransferError):
        parse(text, "run-1")
