"""What the disk at home has against a download: its names, its room, what lies there."""

from __future__ import annotations

import os
import resource
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import TransferError
from launcher.sync.down import download
from launcher.sync.layout import RemoteLayout
from launcher.sync.local.collisions import check_collisions, name_key

from .pulling import files, no_partials, silent


def test_names_that_are_one_on_this_disk_are_told_before_the_first_byte(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Model/w", "model/w", "other"):
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_bytes(b"x")
    monkeypatch.setattr(download, "name_key", lambda folder: str.casefold)
    with pytest.raises(TransferError, match="Model and model are two names on the machine and one on the disk"):
        download.pull(lines, layout.output, dest, silent, "results")
    assert files(dest) == {}


def test_the_disk_is_asked_how_it_tells_names_apart(tmp_path: Path) -> None:
    assert name_key(tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        ("folds", [("A", "a"), ("x/\u00c9", "x/\u00e9")]),
        ("composes", [("\u00e9", "e\u0301")]),
        ("both", [("A", "a"), ("\u00c9", "e\u0301"), ("d/A/x", "d/a/y")]),
    ],
)
def test_a_disk_that_tells_fewer_names_apart(tmp_path: Path, kind: str, pairs: list[tuple[str, str]]) -> None:
    class Disk(type(tmp_path)):  # type: ignore[misc]
        """Finds a probe by other names too."""

        def exists(self) -> bool:
            folded = self.name.swapcase() if kind in {"folds", "both"} else self.name
            composed = unicodedata.normalize("NFC", self.name) if kind in {"composes", "both"} else self.name
            return any(os.path.lexists(self.with_name(name)) for name in (self.name, folded, composed))

    key = name_key(Disk(tmp_path))
    assert not list(tmp_path.iterdir())
    for first, second in pairs:
        with pytest.raises(TransferError, match="two names on the machine"):
            check_collisions([first, "other", second], key, tmp_path, "")
    check_collisions(["A", "B", "c/A"], key, tmp_path, "")
    apart = ("A", "a") if kind == "composes" else ("e", "\u00e9")
    check_collisions(apart, key, tmp_path, "")


def test_too_small_a_disk_at_home_loses_nothing(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there / "weights").write_bytes(b"w" * 5_000_000)
    usage = shutil.disk_usage(dest.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(
        TransferError, match=r"5\.0 MB are to come home, 1\.0 MB are free.*stay on the machine"
    ) as caught:
        download.pull(lines, layout.output, dest, silent, "results")
    assert caught.value.hint.startswith("gpurun fetch-weights digits-7f3a --to DIR")
    assert files(dest) == {}
    assert (there / "weights").exists()


def test_a_disk_that_fills_up_on_the_way_says_the_same(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path
) -> None:
    (there / "a").write_bytes(b"fits")
    (there / "weights").write_bytes(b"w" * 5_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(TransferError, match="stay on the machine") as caught:
            download.pull(lines, layout.output, dest, silent, "results")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--to DIR" in caught.value.hint
    assert files(dest).items() <= {("a", b"fits")}
    assert no_partials(dest)


def test_nothing_is_written_through_a_link_that_lies_at_home(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, tmp_path: Path
) -> None:
    (there / "sub").mkdir()
    (there / "sub/w").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    dest.mkdir(parents=True)
    (dest / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransferError, match="is a link") as caught:
        download.pull(lines, layout.output, dest, silent, "results")
    assert caught.value.hint.startswith("rm ")
    assert files(tmp_path / "elsewhere") == {}


def make(root: Path, name: str, kind: str) -> None:
    """Give a name that kind, whatever it was."""
    path = root / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    if kind == "file":
        path.write_bytes(b"file")
    elif kind == "link":
        path.symlink_to("other")
    else:
        path.mkdir()
        if kind == "folder":
            (path / "w").write_bytes(b"same")
            (path / "latest").symlink_to("w")


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("file", "folder"),
        ("file", "empty"),
        ("file", "link"),
        ("link", "folder"),
        ("link", "empty"),
        ("link", "file"),
        ("empty", "file"),
        ("empty", "link"),
    ],
)
def test_a_name_may_change_its_kind(
    lines: Any, layout: RemoteLayout, there: Path, dest: Path, old: str, new: str, chosen: bool
) -> None:
    # The same file lies behind the old link as in the new folder.
    make(there, "other", "folder")
    make(there, "a", old)
    download.pull(lines, layout.output, dest, silent, "results")
    make(there, "a", new)
    download.pull(lines, layout.output, dest, silent, "results", keep=(lambda name: True) if chosen else None)
    if not (chosen and new == "empty"):
        assert kinds(dest) == kinds(there)
    assert files(dest / "other") == files(there / "other")


def kinds(root: Path) -> dict[str, str | bytes]:
    """What lies there, links not followed."""
    return {
        str(path.relative_to(root)): str(path.readlink())
        if path.is_symlink()
        else "folder"
        if path.is_dir()
        else path.read_bytes()
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("new", ["file", "link"])
def test_a_folder_with_files_makes_no_way(lines: Any, layout: RemoteLayout, there: Path, dest: Path, new: str) -> None:
    make(there, "a", "folder")
    (there / "b").write_bytes(b"x")
    download.pull(lines, layout.output, dest, silent, "results")
    make(there, "a", new)
    (there / "b").write_bytes(b"other")
    with pytest.raises(TransferError, match="/a is a folder here that is not empty, and a on the machine is none") as e:
        download.pull(lines, layout.output, dest, silent, "results")
    assert e.value.hint.startswith("gpurun fetch-weights digits-7f3a --to DIR")
    assert files(dest) == {"a/w": b"same", "a/latest": b"same", "b": b"x"}
