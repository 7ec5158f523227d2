"""Whatever cuts the machine's side off, everything is put in place or nothing, by whoever comes next."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.agent import commit, settle, state
from launcher.agent.hashes import LEAF_BYTES, digest_of
from launcher.agent.intake import Intake
from launcher.agent.place import Place
from launcher.agent.serve import OPERATIONS
from launcher.agent.wire import Refusal
from launcher.domain import TransferProgress
from launcher.sync.local import ignore
from launcher.sync.local.tree import scan
from launcher.sync.up import upload
from launcher.sync.up.far_folder import FarFolder

from .dying import die_after
from .parcels import BIG, ROOT, Json, files, fill, part, row, seal, tree, update


def test_a_seal_that_was_cut_off_is_done_again(place: Place, line: Intake) -> None:
    for offset in range(0, len(BIG), LEAF_BYTES):
        line.accept(part("big", len(BIG), offset, BIG[offset : offset + LEAF_BYTES]))
    for steps in range(20):
        with die_after(steps) as died:
            line.accept(seal("big", BIG))
        line = Intake(place)
        if not died:
            break
    else:
        raise AssertionError("it never came to an end")
    assert update(row("big", BIG))
    assert tree(place.root) == {"big": (0o644, 7, BIG)}


def test_a_seal_that_is_cut_off_does_not_pass_off_another_content(place: Place, line: Intake) -> None:
    """Of the same name, size, time and mode: the line of the new one must not stand for the old one."""
    for steps in range(20):
        other = bytes(LEAF_BYTES) + BIG[LEAF_BYTES:]
        with die_after(steps) as died:
            for content in (BIG, other):
                for offset in range(0, len(BIG), LEAF_BYTES):
                    line.accept(part("big", len(BIG), offset, content[offset : offset + LEAF_BYTES]))
                line.accept(seal("big", content))
        for name, found in place.staged_rows().items():
            assert digest_of(Path(place.tree, name).read_bytes()).hex() == found[6], steps
        shutil.rmtree(place.stage)
        place.open_stage()
        line = Intake(place)
        if not died:
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("heal", ["drop", "state"])
def test_a_decided_update_that_cannot_be_finished_is_given_up(
    place: Place, line: Intake, heal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.accept(files(a=b"1", b=b"1", c=b"1"))
    assert update(row("a", b"1"), row("b", b"1"), row("c", b"1"))
    place.open_stage()
    again = Intake(place)
    again.accept(files(a=b"2", b=b"2"))
    replace = os.replace

    def full(source: str, target: str) -> None:
        if target == f"{place.root}/b":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            update(row("a", b"2"), row("b", b"2"), row("c", b"1"))
    with pytest.raises(OSError, match="No space"):
        settle.settle(place.root)
    answer = OPERATIONS[heal](None, {"root": ROOT})  # type: ignore[arg-type]
    assert answer.get("failed", "OSError: [Errno 28] No space left on device").startswith(
        "OSError: [Errno 28] No space"
    )
    assert ("failed" in answer) == (heal == "drop")
    assert not Path(place.stage).exists()
    # Half of it lies there: nothing may start, and what may have changed has no digest, though size and time are so.
    with pytest.raises(Refusal, match="sent again"):
        settle.settle(place.root)
    assert state.state(None, {"root": ROOT})["digest"] == "half"  # type: ignore[arg-type]
    told = {entry[0]: entry[6] for entry in state.entries(None, {"root": ROOT})["entries"]}  # type: ignore[arg-type]
    assert told == {"a": "", "b": "", "c": digest_of(b"1").hex()}
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(Path(place.root).parents[2]))
    place.open_stage()
    last = Intake(place)
    last.accept(files(a=b"2", b=b"2"))
    assert update(row("a", b"2"), row("b", b"2"), row("c", b"1"))
    settle.settle(place.root)
    assert state.state(None, {"root": ROOT})["digest"] not in {"", "half"}  # type: ignore[arg-type]
    last.close()
    again.close()


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


@pytest.fixture
def ordered(connection: Any, lines: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], dict[str, Json]]:
    """Push a folder but for the last order, which is given back."""

    class Held(Exception):
        """Nothing was put in place yet."""

    def hold(root: Path) -> dict[str, Json]:
        orders: list[dict[str, Json]] = []
        say = FarFolder.say

        def held(folder: FarFolder, what: str, **request: Json) -> None:
            if what == "commit":
                orders.append(request)
            else:
                say(folder, what, **request)

        def unanswered(folder: FarFolder) -> None:
            raise Held

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FarFolder, "say", held)
            patch.setattr(FarFolder, "commit", unanswered)
            with pytest.raises(Held):
                upload.push(lines, scan(root, ignore=ignore.nothing()), ROOT, silent, "code")
        return {"root": ROOT, **orders[0]}

    monkeypatch.setenv("HOME", str(connection.home))
    return hold


def old_and_new(root: Path) -> Iterator[Path]:
    """A folder, twice: everything that can become something else does."""
    fill(root, {"same": b"same", "changed": b"old", "gone": b"gone", "mode": b"mode", "touched": b"touched"})
    fill(root, {"to_folder": b"file", "to_file/inside": b"1", "to_link/x": b"1", "other/x": b"must stay"})
    fill(root, {"gone_folder/deep/x": b"1", "job/mine": b"1", "renamed": b"r" * 10_000, "big": BIG})
    (root / "link_to_file").symlink_to("same")
    (root / "link_to_folder").symlink_to("other")
    (root / "empty").mkdir()
    yield root
    fill(root, {"changed": b"new", "new/deep/x": b"1", "big": b"changed" + BIG})
    for name in ("gone", "to_folder", "link_to_file", "link_to_folder"):
        (root / name).unlink()
    for name in ("to_file", "to_link", "gone_folder", "job"):
        shutil.rmtree(root / name)
    fill(root, {"to_folder/inside": b"2", "to_file": b"2", "link_to_file": b"2", "link_to_folder/x": b"2"})
    (root / "to_link").symlink_to("other")
    (root / ("l" * 255)).symlink_to("same")
    (root / "mode").chmod(0o755)
    (root / "empty").chmod(0o750)
    os.utime(root / "touched", ns=(5, 5))
    (root / "renamed").rename(root / "under another name")
    yield root


def test_a_push_after_an_update_that_cannot_be_finished_sends_anew(
    tmp_path: Path, connection: Any, lines: Any, ordered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = old_and_new(tmp_path / "code")
    upload.push(lines, scan(next(trees), ignore=ignore.nothing()), ROOT, silent, "code")
    new = tree(next(trees))
    order = ordered(tmp_path / "code")
    there = Place(str(connection.home / ROOT))
    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", no_room_after(os.symlink, 1))
        with pytest.raises(OSError, match="No space"):
            commit.commit(None, order)  # type: ignore[arg-type]
    journal = Path(there.journal)
    journal.write_text(journal.read_text().replace('"to_link"', f'"{"x" * 300}"'))  # for ever
    upload.push(lines, scan(tmp_path / "code", ignore=ignore.nothing()), ROOT, silent, "code")
    assert tree(there.root) == new
    settle.settle(there.root)


def no_room_after(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    left = [None] * count

    def call(*arguments: Any) -> Any:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()
        return function(*arguments)

    return call


def test_an_update_that_is_cut_anywhere_is_finished_by_whoever_comes_next(
    tmp_path: Path, connection: Any, lines: Any, ordered: Any
) -> None:
    trees = old_and_new(tmp_path / "code")
    upload.push(lines, scan(next(trees), ignore=ignore.nothing()), ROOT, silent, "code")
    there = connection.home / ROOT
    (there / "job/by the job").write_bytes(b"left alone")
    old, new = tree(there), tree(next(trees))
    new["job"], new["job/by the job"] = old["job"], old["job/by the job"]
    order = ordered(tmp_path / "code")
    assert tree(there) == old
    decided = _cut_anywhere(there, order, old, new)
    assert decided > 40


def test_a_first_upload_that_is_cut_anywhere_is_finished_by_whoever_comes_next(
    tmp_path: Path, connection: Any, ordered: Any
) -> None:
    root = next(old_and_new(tmp_path / "code"))
    order = ordered(root)
    assert _cut_anywhere(connection.home / ROOT, order, {}, tree(root)) > 10


def _cut_anywhere(there: Path, order: Json, old: dict[str, object], new: dict[str, object]) -> int:
    """Kill a commit after each of its steps, and him who would finish it as well; gives how many steps there were."""
    run, saved = there.parent, there.parent.with_name("saved")
    run.rename(saved)
    decided = 0
    for steps in range(1000):
        shutil.copytree(saved, run, symlinks=True)
        with die_after(steps) as died:
            commit.commit(None, order)  # type: ignore[arg-type]
        if Path(Place(str(there)).journal).exists():
            decided += 1
            with die_after(steps * 7 % 23):
                settle.settle(str(there))
        settle.settle(str(there))
        assert tree(there) == (new if decided else old), steps
        shutil.rmtree(run)
        if not died:
            return decided
    raise AssertionError("it never came to an end")
