"""The cache of parsed data: the same arrays, and never an error of its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import cache, source
from jobs.datasets.dataset import Dataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPURUN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GPURUN_NO_CACHE", raising=False)
    monkeypatch.setattr(cache, "WORTHWHILE_BYTES", 1)
    return tmp_path / "cache"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "train.csv"
    path.parent.mkdir()
    rows = [f"{n % 10},{n},{n + 1},{n + 2},{n + 3}" for n in range(60)]
    path.write_text("\n".join(["label,pixel0,pixel1,pixel2,pixel3", *rows]) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> Dataset:
    return source.load(source.locate(path, {}))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def no_reading(monkeypatch: pytest.MonkeyPatch, kind: str = "kaggle"):
    def read(path: Path) -> Dataset:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(source, "READERS", {**source.READERS, kind: source.Reader(read=read)})


def assert_same(one: Dataset, other: Dataset):
    for name in Dataset.__dataclass_fields__:
        first, second = getattr(one, name), getattr(other, name)
        if isinstance(first, np.ndarray):
            assert np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
            assert first.dtype == second.dtype
        else:
            assert first == second


def test_what_was_parsed_once_is_not_parsed_again(csv: Path, monkeypatch: pytest.MonkeyPatch):
    first = load(csv)
    no_reading(monkeypatch)
    assert_same(load(csv), first)


def test_the_same_content_elsewhere_is_known_and_says_where_it_is(csv: Path, monkeypatch: pytest.MonkeyPatch):
    load(csv)
    moved = csv.rename(csv.with_name("other.csv"))
    no_reading(monkeypatch)
    assert load(moved).name.endswith(f"from {moved}")


def test_missing_values_and_rows_to_choose_by_come_back(own_cache: Path, csv: Path):
    dataset = Dataset(
        name="mine",
        train_x=np.ones((2, 3, 4), np.float32),
        train_y=np.array([[1, np.nan]], np.float32),
        valid_x=np.zeros((1, 3, 4), np.float32),
        valid_y=np.zeros((1, 2), np.float32),
        test_x=np.zeros((0, 3, 4), np.float32),
        test_y=np.zeros((0, 2), np.float32),
        scale=0.5,
        classes=0,
        targets=("a", "b"),
    )
    for _ in range(2):
        assert_same(cache.load([csv], "mine 1", lambda: dataset, os.environ), dataset)
    assert len(entries(own_cache)) == 1


def test_changed_content_and_another_version_are_read_anew(own_cache: Path, csv: Path):
    before = load(csv)
    csv.write_text(csv.read_text(encoding="utf-8").replace("\n0,0,1,", "\n0,200,1,"), encoding="utf-8")
    assert load(csv).train_x[0, 0] == 200 != before.train_x[0, 0]
    assert cache.key([csv], "kaggle 1") != cache.key([csv], "kaggle 2")
    assert len(entries(own_cache)) == 2


@pytest.mark.parametrize("damage", ["half", "empty", "flipped", "text"])
def test_a_broken_entry_is_dropped_and_the_files_are_read(own_cache: Path, csv: Path, damage: str):
    first = load(csv)
    (entry,) = entries(own_cache)
    data = bytearray(entry.read_bytes())
    place = data.index(first.train_x.tobytes())
    data[place + 5] ^= 1
    broken = {"half": bytes(data[: len(data) // 2]), "empty": b"", "flipped": bytes(data), "text": b"no archive"}
    entry.write_bytes(broken[damage])
    assert_same(load(csv), first)
    assert entries(own_cache) == [entry]
    assert entry.read_bytes() != broken[damage]


def test_a_folder_that_cannot_be_written_is_no_error(own_cache: Path, csv: Path):
    own_cache.write_text("in the way", encoding="utf-8")
    assert len(load(csv).train_x) == 48


def test_a_disk_that_fills_up_is_no_error_and_leaves_nothing(own_cache: Path, csv: Path, monkeypatch):
    def run_full(file, **_arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", run_full)
    assert len(load(csv).train_x) == 48
    assert entries(own_cache) == []


def test_the_cache_can_be_turned_off(own_cache: Path, csv: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPURUN_NO_CACHE", "1")
    load(csv)
    assert entries(own_cache) == []


def test_small_files_and_arrays_are_not_kept(own_cache: Path, csv: Path, monkeypatch: pytest.MonkeyPatch):
    x, y = np.zeros((4, 3), np.float32), np.arange(4) % 2
    np.savez(csv.with_name("mine.npz"), x_train=x, y_train=y, x_test=x, y_test=y)
    load(csv.with_name("mine.npz"))
    monkeypatch.setattr(cache, "WORTHWHILE_BYTES", 1 << 20)
    load(csv)
    assert entries(own_cache) == []


def test_what_was_used_last_is_kept(own_cache: Path, csv: Path, monkeypatch: pytest.MonkeyPatch):
    text = csv.read_text(encoding="utf-8")
    paths = [csv.with_name(f"{n}.csv") for n in range(4)]
    for number, path in enumerate(paths[:3]):
        path.write_text(f"{text}{number},1,1,1,1\n", encoding="utf-8")
        load(path)
        os.utime(own_cache / f"{cache.key([path], 'kaggle 1')}{cache.ENDING}", (number, number))
    (own_cache / "not-ours.txt").write_text("x" * 10_000, encoding="utf-8")
    monkeypatch.setattr(cache, "LARGEST_BYTES", round(2.5 * max(e.stat().st_size for e in entries(own_cache)[:3])))
    load(paths[0])  # it is used: the second one is now the oldest
    paths[3].write_text(f"{text}3,1,1,1,1\n", encoding="utf-8")
    load(paths[3])
    kept = {entry.name.partition(".")[0] for entry in entries(own_cache)}
    assert kept == {cache.key([paths[0]], "kaggle 1"), cache.key([paths[3]], "kaggle 1"), "not-ours"}


def test_the_folder_is_the_one_that_is_asked_for():
    assert cache.folder_of({"GPURUN_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache.folder_of({"XDG_CACHE_HOME": "/b"}) == Path("/b/gpurun/jobs")
    assert cache.folder_of({}) == Path.home() / ".cache/gpurun/jobs"
