"""What is staged on the machine is verified, and is what was sent last."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import clone, copies
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.agent.intake import Intake
from launcher.agent.parcels import join
from launcher.agent.place import Place

from .parcels import BIG, ROOT, Json, files, part, row, seal, tree, update


def test_an_order_that_comes_twice_is_done_once(place: Place) -> None:
    first, second = Intake(place), Intake(place)
    for offset in range(0, len(BIG), LEAF_BYTES):
        for line in (first, second):
            assert line.accept(part("big", len(BIG), offset, BIG[offset : offset + LEAF_BYTES])) == ""
    assert first.accept(seal("big", BIG)) == ""
    assert second.accept(seal("big", BIG)) == ""
    assert first.accept(seal("big", BIG)) == ""
    # Late, from a line that broke: the file that is whole keeps its time.
    assert second.accept(part("big", len(BIG), 0, bytes(LEAF_BYTES))) == ""
    assert second.accept(seal("big", BIG)) == ""
    assert place.staged_rows() == {"big": row("big", BIG)}
    assert update(row("big", BIG))
    assert tree(place.root) == {"big": (0o644, 7, BIG)}
    assert second.accept(part("big", len(BIG), 0, bytes(LEAF_BYTES))) == "another upload has ended this one"
    assert first.accept(files(big=b"late")) == "another upload has ended this one"
    assert tree(place.root) == {"big": (0o644, 7, BIG)}
    first.close()
    second.close()


def test_what_is_sent_anew_is_no_copy_of_a_file_in_place(place: Place, line: Intake) -> None:
    """A renamed file is linked into the stage: who writes over it there must not change what is in place."""
    line.accept(files(old=BIG))
    assert update(row("old", BIG))
    moved = ["old", "new", len(BIG), 7, 0o644, digest_of(BIG).hex(), True]
    assert copies.copies(None, {"root": ROOT, "items": [moved]}) == {"bad": []}  # type: ignore[arg-type]
    again = Intake(place)
    assert again.accept(files(new=b"changed meanwhile")) == ""
    assert tree(place.root) == {"old": (0o644, 7, BIG)}
    assert update(row("new", b"changed meanwhile"), delete=["old"])
    assert tree(place.root) == {"new": (0o644, 7, b"changed meanwhile")}
    again.close()


def test_a_copy_is_verified(place: Place, line: Intake) -> None:
    line.accept(files(old=BIG, other=BIG[1:]))
    assert update(row("old", BIG), row("other", BIG[1:]))
    good = digest_of(BIG).hex()
    wanted: list[list[Json]] = [
        ["old", "same", len(BIG), 9, 0o600, good, False],
        ["old", "wrong digest", len(BIG), 9, 0o600, digest_of(b"").hex(), False],
        ["old", "wrong, moved", len(BIG), 7, 0o644, digest_of(b"").hex(), True],
        ["other", "wrong size", len(BIG), 9, 0o600, good, False],
        ["not there", "nothing", 1, 9, 0o600, good, False],
        [{"store": f"{len(BIG)}-{good}"}, "not stored", len(BIG), 9, 0o600, good, False],
    ]
    bad = copies.copies(None, {"root": ROOT, "items": wanted})["bad"]  # type: ignore[arg-type]
    assert sorted(bad) == sorted(item[1] for item in wanted[1:])
    assert [*place.staged_rows()] == ["same"]


def test_what_an_earlier_upload_left_makes_way(place: Place, line: Intake) -> None:
    left = {"f": b"file then", "d/inside": b"folder then", "gone/deep/x": b"x", "half": b"half"}
    line.accept(files(**left))
    Path(place.tree, "no line of its own").write_bytes(b"cut off in the middle")
    now = Intake(place)
    assert now.accept(files(**{"f/inside": b"folder now", "d": b"file now"})) == ""
    items = [["f", "d", 0, 0, 0o755, "", ""], row("f/inside", b"folder now"), row("d", b"file now")]
    assert update(*items, folders=[["f", 0o755]], files=["f/inside", "d"])
    assert tree(place.root) == {
        "d": (0o644, 7, b"file now"),
        "f": 0o755,
        "f/inside": (0o644, 7, b"folder now"),
    }
    assert not Path(place.stage).exists()
    now.close()


def test_a_staged_file_that_was_touched_does_not_count(place: Place, line: Intake) -> None:
    line.accept(files(a=b"12", b=b"34"))
    Path(place.tree, "a").write_bytes(b"123")
    assert [*place.staged_rows()] == ["b"]
    assert not update(row("a", b"12"), row("b", b"34"))


def test_a_staged_content_of_another_upload_is_not_taken_for_ours(place: Place, line: Intake) -> None:
    """The same name, size and time: only the digest tells."""
    line.accept(files(a=b"mine"))
    line.accept(files(a=b"your"))
    assert not update(row("a", b"mine"))
    assert not Path(place.root).exists()


def test_a_line_that_a_full_disk_cuts_does_not_spoil_the_next(
    place: Place, line: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, [100, 0]

    def short(descriptor: int, data: Any) -> int:
        if descriptor != line.rows or not room:
            return real(descriptor, data)
        count = room.pop(0)
        if not count:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:count])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        line.accept(files(a=b"1", b=b"2"))
    assert room == []
    assert line.accept(files(c=b"3")) == ""
    assert place.staged_rows() == {"c": row("c", b"3")}
    room[:] = [10]
    assert line.accept(files(d=b"4")) == ""
    assert [*place.staged_rows()] == ["c", "d"]


def test_a_clock_that_was_set_back_does_not_hide_what_is_whole(
    place: Place, line: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line.accept(files(a=b"then")) == ""
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    later = Intake(place)
    assert later.accept(files(a=b"by now")) == ""
    assert place.staged_rows() == {"a": row("a", b"by now")}
    later.close()


def test_zeros_are_zeros_also_over_a_clone_that_was_cut_off(place: Place, line: Intake) -> None:
    old = os.urandom(2 * LEAF_BYTES)
    Path(place.root).mkdir(parents=True)
    (Path(place.root) / "big").write_bytes(old)
    size = len(old)
    clone.clone(
        None,
        {"root": place.root, "name": "big", "base": "big", "size": size, "mtime_ns": 5, "copies": [[0, 0, size]]},
    )
    new = bytes(size)
    header = {"parts": ["big", size, 5, [[0, size, 1]]]}
    assert line.accept(join(header, [digest_of(new)], [])) == ""
    assert line.accept(join({"seal": ["big", size, 5, 0o644]}, [digest_of(new)], [])) == ""
    assert (Path(place.tree) / "big").read_bytes() == new
