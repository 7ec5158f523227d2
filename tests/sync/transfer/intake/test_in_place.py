"""What is in place on the machine: what of it is ours, as we put it, and what was touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import copies, state
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.agent.intake import Intake
from launcher.agent.place import Place
from launcher.agent.record import line_of, state_digest

from .parcels import BIG, ROOT, files, part, row, seal, tree, update


def test_nothing_is_removed_through_a_link(place: Place, line: Intake, tmp_path: Path) -> None:
    line.accept(files(**{"d/x": b"1"}))
    assert update(["d", "d", 0, 0, 0o755, "", ""], row("d/x", b"1"), folders=[["d", 0o755]])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_bytes(b"not ours")
    os.utime(tmp_path / "elsewhere/x", ns=(7, 7))
    shutil.rmtree(Path(place.root, "d"))
    Path(place.root, "d").symlink_to(tmp_path / "elsewhere")
    # It lies there no more, though a look through the link would find the same.
    now = {entry[0]: entry[1] for entry in state.entries(None, {"root": ROOT})["entries"]}  # type: ignore[arg-type]
    assert now == {"d": "l", "d/x": ""}
    assert update(delete=["d", "d/x"])
    assert tree(place.root) == {}
    assert (tmp_path / "elsewhere/x").read_bytes() == b"not ours"


def test_two_trees_never_have_one_digest() -> None:
    one = [["a", "l", 0, 0, 0, "x", ""], ["y\nz", "f", 0, 0, 0, "", ""]]
    other = [["a", "l", 0, 0, 0, "x\ny", ""], ["z", "f", 0, 0, 0, "", ""]]
    assert state_digest(map(line_of, one)) != state_digest(map(line_of, other))


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_record_that_cannot_be_read_counts_as_none(place: Place, line: Intake, record: bytes) -> None:
    line.accept(files(a=b"1"))
    assert update(row("a", b"1"))
    Path(place.record).write_bytes(record)
    assert state.state(None, {"root": ROOT})["digest"] == ""  # type: ignore[arg-type]
    assert state.entries(None, {"root": ROOT}) == {"entries": []}  # type: ignore[arg-type]


def test_a_time_that_the_disk_cannot_hold_counts_as_the_one_that_was_wanted(
    place: Place, line: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk of whole seconds, whatever the test's own can hold."""
    real = os.utime

    def coarse(file: Any, *, ns: tuple[int, int]) -> None:
        real(file, ns=(ns[0], ns[1] // 10**9 * 10**9))

    monkeypatch.setattr(os, "utime", coarse)
    for offset in range(0, len(BIG), LEAF_BYTES):
        line.accept(part("big", len(BIG), offset, BIG[offset : offset + LEAF_BYTES]))
    assert line.accept(seal("big", BIG)) == ""
    assert line.accept(files(a=b"1", b=b"2")) == ""
    wanted = ["a", "copy", 1, 7, 0o644, digest_of(b"1").hex(), False]
    assert copies.copies(None, {"root": ROOT, "items": [wanted]}) == {"bad": []}  # type: ignore[arg-type]
    items = [row("a", b"1"), row("b", b"2"), row("big", BIG), row("copy", b"1")]
    told = state.staged(None, {"root": ROOT})["rows"]  # type: ignore[arg-type]
    assert sorted(told) == items
    assert update(*items)
    assert Path(place.root, "big").stat().st_mtime_ns == Path(place.root, "copy").stat().st_mtime_ns == 0
    again = [[*row("a", b"1")[:3], 10**9 + 5, 0o644, "", digest_of(b"1").hex()], *items[1:]]
    for lines, meta in ((items, []), (again, [["a", 10**9 + 5, 0o644]])):
        if meta:
            assert update(*lines, meta=meta)
        found = place.recorded()
        assert found
        assert state.all_untouched(place.root, found["items"])
        assert state.state(None, {"root": ROOT})["digest"] == state_digest(map(line_of, lines))  # type: ignore[arg-type]
        assert state.entries(None, {"root": ROOT})["entries"] == lines  # type: ignore[arg-type]
    os.utime(Path(place.root, "b"), ns=(0, 5 * 10**9))
    now = {entry[0]: entry[6] for entry in state.entries(None, {"root": ROOT})["entries"]}  # type: ignore[arg-type]
    assert [name for name, digest in now.items() if not digest] == ["b"]


def test_a_link_as_it_was_put_counts_as_untouched(place: Place, line: Intake) -> None:
    line.accept(files(a=b"1"))
    assert update(row("a", b"1"), ["l", "l", 0, 0, 0, "a", ""], links=[["l", "a"]])
    items = place.items()
    assert state.all_untouched(place.root, items)
    link = Path(place.root, "l")
    link.unlink()
    assert not state.all_untouched(place.root, items)
    link.touch()
    assert not state.all_untouched(place.root, items)
    link.unlink()
    link.symlink_to("b")
    assert not state.all_untouched(place.root, items)


def test_what_lay_below_many_lost_folders_is_gone(place: Place, line: Intake) -> None:
    names = [f"{number}/d" for number in range(200)]
    line.accept(files(**{f"{name}/x": b"1" for name in names}))
    folders = [name for number in range(200) for name in (str(number), f"{number}/d")]
    items = [[name, "d", 0, 0, 0o755, "", ""] for name in folders] + [row(f"{name}/x", b"1") for name in names]
    assert update(*items, folders=[[name, 0o755] for name in folders])
    for number in range(1, 200):
        Path(place.root, str(number)).rename(Path(place.root, f"moved{number}"))
        Path(place.root, str(number)).symlink_to(f"moved{number}")
    told = {item[0]: now[1] for item, now in state.lying(place)}
    assert {name for name, kind in told.items() if kind not in {"", "l"}} == {"0", "0/d", "0/d/x"}
    assert told["1"] == "l"
    assert told["1/d/x"] == ""
