"""Which contents need not travel: what is found makes the new file again, byte for byte."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.agent.hashes import GRAIN_BYTES, LEAF_BYTES, digest_of, grains_of, leaves_of
from launcher.sync.local import ignore
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import scan
from launcher.sync.up import reuse
from launcher.sync.up.packing import Range
from launcher.sync.up.reuse import Patch, Reuse, find_reuse

MIB = 1 << 20
EDGES = (1, GRAIN_BYTES, LEAF_BYTES, MIB)


class Far:
    """`reuse.Machine` that holds these files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def leaves(self, name: str) -> bytes:
        self.asked.append(f"leaves of {name}")
        return leaves_of(self.files[name])

    def grains(self, name: str, ranges: Sequence[Range]) -> bytes:
        self.asked.append(f"grains of {name}")
        return b"".join(grains_of(self.files[name][start : start + length]) for start, length in ranges)


def line(name: str, content: bytes) -> list[Any]:
    return [name, "f", len(content), 7, 0o644, "", digest_of(content).hex()]


def find(
    root: Path, old: dict[str, bytes], *, far: Far | None = None, memory: Memory | None = None, store: Any = None
) -> Reuse:
    there = {name: line(name, content) for name, content in old.items()}
    items = scan(root, ignore=ignore.nothing()).items
    return find_reuse(str(root), items, there, store or {}, memory or Memory(None), far or Far(old))


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def made_of(patch: Patch, old: bytes, new: bytes) -> bytes:
    """What the machine makes of a patch."""
    made = bytearray(b"?" * len(new))
    for to, start, length in patch.copies:
        assert 0 <= start <= start + length <= len(old)
        made[to : to + length] = old[start : start + length]
    for offset, length in patch.large.todo:
        assert length > 0
        assert offset % GRAIN_BYTES == 0
        made[offset : offset + length] = new[offset : offset + length]
    return bytes(made)


def edited(content: bytes, kind: str, at: int, part: bytes) -> bytes:
    """With the part inserted, or over what was there, or that much cut out, or made zeros, or the part at the end."""
    if kind == "insert":
        return content[:at] + part + content[at:]
    if kind == "overwrite":
        return content[:at] + part + content[at + len(part) :]
    if kind == "cut":
        return content[:at] + content[at + len(part) :]
    if kind == "zero":
        return content[:at] + bytes(len(part)) + content[at + len(part) :]
    return content + part


KINDS = ["insert", "overwrite", "cut", "zero", "append"]
near_an_edge = st.builds(
    lambda edge, count, beside: max(0, edge * count + beside),
    st.sampled_from(EDGES),
    st.integers(0, 3),
    st.integers(-1, 1),
)


@settings(max_examples=60, deadline=None)
@given(
    size=st.builds(lambda more: MIB + more, near_an_edge),
    edits=st.lists(st.tuples(st.sampled_from(KINDS), near_an_edge, near_an_edge), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_any_changed_file_is_made_again(size: int, edits: list[tuple[str, int, int]], seed: int) -> None:
    chance = random.Random(seed)
    old = chance.randbytes(size)
    new = old
    for kind, at, length in edits:
        new = edited(new, kind, at, chance.randbytes(length))
    root = Path(tempfile.mkdtemp())
    try:
        fill(root, {"big": new})
        found = find(root, {"big": old})
    finally:
        shutil.rmtree(root)
    ways = [len(found.send), len(found.patches), len(found.copies), len(found.same)]
    assert sum(ways) == 1
    if found.same:
        assert new == old
    for patch in found.patches:
        assert made_of(patch, old, new) == new
        assert bytes(patch.large.leaves) == leaves_of(new)
        assert sum(length for _, length in patch.large.todo) <= 0.9 * len(new)
    if len(new) >= MIB and len(edits) == 1 and len(new) != len(old) and max(edits[0][1:]) < LEAF_BYTES // 2:
        assert found.patches, "one small edit leaves most of it"


def test_a_change_inside_a_leaf_costs_a_grain(root: Path) -> None:
    old = os.urandom(8 * MIB)
    new = old[: 3 * MIB] + b"changed" + old[3 * MIB + 7 :]
    (patch,) = find(fill(root, {"big": new}), {"big": old}).patches
    assert patch.large.todo == [(3 * MIB, GRAIN_BYTES)]


def test_hashes_that_are_remembered_are_not_asked_for(root: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory")
    old, new = os.urandom(2 * MIB), os.urandom(MIB)
    memory.keep_leaves(len(old), digest_of(old).hex(), leaves_of(old))
    far = Far({"big": old})
    assert find(fill(root, {"big": old + new}), {"big": old}, far=far, memory=memory).patches
    assert "leaves of big" not in far.asked


def test_a_file_whose_size_says_that_it_is_new_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, {"small": b"1234", "big": os.urandom(MIB), "bigger": os.urandom(2 * MIB)})

    def read(*arguments: object) -> None:
        raise AssertionError(f"{arguments} was read")

    monkeypatch.setattr(reuse, "read_small", read)
    monkeypatch.setattr(reuse, "leaves_of_file", read)
    assert len(find(root, {"other": b"12345", "else": os.urandom(3 * MIB)}).send) == 3


def test_contents_are_known_by_size_and_digest(root: Path) -> None:
    a, b = os.urandom(MIB), os.urandom(10_000)
    fill(root, {"a under another name": a, "b too": b, "touched": b"x" * 5000, "tiny": b"tiny"})
    (root / "linked").hardlink_to(root / "b too")
    found = find(root, {"a": a, "b": b, "touched": b"x" * 5000, "tiny before": b"tiny"})
    sources = {item.name: source for item, _, source in found.copies}
    assert sources == {"a under another name": "a", "b too": "b", "linked": "b too"}
    assert [item.name for item, _ in found.same] == ["touched"]
    assert [item.name for item in found.send] == ["tiny"], "so small a file is sooner sent than copied"


def test_of_a_file_that_the_job_touched_nothing_is_believed(root: Path) -> None:
    a = os.urandom(2 * MIB)
    fill(root, {"a": a})
    there = {"a": [*line("a", a)[:6], ""]}
    found = find_reuse(str(root), scan(root, ignore=ignore.nothing()).items, there, {}, Memory(None), Far({"a": a}))
    assert [item.name for item in found.send] == ["a"]


def test_the_same_digest_of_another_size_is_another_content(root: Path) -> None:
    """A digest alone does not tell a file from the file of its leaves."""
    big = bytes(128 * LEAF_BYTES)
    leaves = leaves_of(big)
    fill(root, {"leaves": leaves})
    assert digest_of(leaves) == digest_of(big)
    assert [item.name for item in find(root, {"big": big, "as long": bytes(len(leaves))}).send] == ["leaves"]


def test_a_store_is_known(root: Path) -> None:
    a = os.urandom(MIB)
    name = f"{MIB}-{digest_of(a).hex()}"
    fill(root, {"a": a})
    found = find(root, {}, store={MIB: [name]})
    assert [source for _, _, source in found.copies] == [{"store": name}]


def test_twins_go_once(root: Path) -> None:
    a = os.urandom(MIB)
    fill(root, {"a": a, "b": a, "c": os.urandom(MIB), "almost a": a[:-1] + bytes([a[-1] ^ 1])})
    found = find(root, {})
    assert sorted(item.name for item in found.send) == ["a", "almost a", "c"]
    assert [(item.name, source) for item, _, source in found.copies] == [("b", "a")]


def test_hashes_of_another_number_are_no_hashes(root: Path) -> None:
    old = os.urandom(4 * MIB)

    class Lies(Far):
        def leaves(self, name: str) -> bytes:
            return super().leaves(name)[:-32]

    class LiesLater(Far):
        def grains(self, name: str, ranges: Sequence[Range]) -> bytes:
            return super().grains(name, ranges)[:-16]

    new = old[: 2 * MIB] + b"changed" + old[2 * MIB + 7 :]
    fill(root, {"big": new})
    assert find(root, {"big": old}, far=Lies({"big": old})).send
    (patch,) = find(root, {"big": old}, far=LiesLater({"big": old})).patches
    assert patch.large.todo == [(2 * MIB, LEAF_BYTES)]
    assert made_of(patch, old, new) == new


def test_of_very_much_that_changed_no_grains_are_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would not fit into one answer."""
    monkeypatch.setattr(reuse, "FINER_LIMIT_BYTES", MIB)
    old = os.urandom(4 * MIB)
    far = Far({"big": old})
    fill(root, {"big": os.urandom(2 * MIB) + old[2 * MIB :]})
    (patch,) = find(root, {"big": old}, far=far).patches
    assert patch.large.todo == [(0, 2 * MIB)]
    assert far.asked == ["leaves of big"]
