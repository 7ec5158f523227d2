from __future__ import annotations

from pathlib import Path

from launcher.sync.local.surprise import surprise
from launcher.sync.local.tree import Item, Scan

GIB = 1 << 30


def scan(sizes: dict[str, int]) -> Scan:
    """A tree of files, with the folders that they lie in."""
    folders = {name.rsplit("/", up)[0] for name in sizes for up in range(1, name.count("/") + 1)}
    items = [Item(name, "f", size, 0, 0o644, "", None) for name, size in sizes.items()]
    items += [Item(name, "d", 0, 0, 0o755, "", None) for name in folders]
    return Scan(root=Path("/p"), items=tuple(sorted(items)), skipped=())


def test_up_to_the_limits_nothing_is_said() -> None:
    assert surprise(scan({})) == []
    assert surprise(scan({f"a/{number}": 0 for number in range(10_000)})) == []
    assert surprise(scan({"a": GIB})) == []


def test_a_byte_or_a_file_more_is_told() -> None:
    assert surprise(scan({"a": GIB + 1}))[0] == "1 file, 1.1 GB would go up"
    assert surprise(scan({f"a/{number}": 0 for number in range(10_001)}))[0] == "10,001 files, 0 B would go up"


def test_the_innermost_cause_is_named_with_what_to_do() -> None:
    sizes = {f"data/raw/part{number:03}/{each}.bin": 6_000_000 for number in range(100) for each in range(8)}
    lines = surprise(scan({**sizes, "data/notes.txt": 10, "train.py": 5_000, "src/a.py": 100}))
    assert lines == [
        "803 files, 4.8 GB would go up",
        "data/raw 4.8 GB, 800 files: put it in .gpurunignore, or name it as `data:`",
    ]


def test_a_single_large_file_is_a_cause() -> None:
    lines = surprise(scan({"out/model.npz": 3 * GIB, "out/x": 1, "b/c.bin": GIB, "d": 10}))
    assert lines[1:] == [
        "out/model.npz 3.2 GB: put it in .gpurunignore, or name it as `data:`",
        "b/c.bin 1.1 GB: put it in .gpurunignore, or name it as `data:`",
    ]


def test_what_there_is_too_much_of_decides() -> None:
    many = {f"crops/{number}": 1 for number in range(12_000)}
    assert surprise(scan({**many, "big": GIB - 20_000}))[1].startswith("crops 12.0 kB, 12,000 files")
    both = surprise(scan({**many, "big": GIB}))
    assert [line.split(" ")[0] for line in both[1:]] == ["big", "crops"]


def test_many_even_parts_give_the_largest_folders_and_no_single_files() -> None:
    flat = {f"{number:05}": 1 for number in range(12_000)}
    assert len(surprise(scan(flat))) == 1
    even = {f"p{folder:02}/{number}": 1 for folder in range(40) for number in range(400 + folder)}
    assert [line.split(" ")[0] for line in surprise(scan(even))[1:]] == ["p39", "p38", "p37"]


def test_a_name_cannot_speak_to_the_terminal() -> None:
    assert "\x1b" not in "".join(surprise(scan({"\x1b[2J": 2 * GIB})))
