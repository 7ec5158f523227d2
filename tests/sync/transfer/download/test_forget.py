"""What a killed download left goes when nothing comes home any more; what a living one holds stays."""

from __future__ import annotations

from pathlib import Path

from launcher.sync.down import partials


def test_what_a_killed_download_left_goes_and_nothing_else_does(tmp_path: Path) -> None:
    killed = tmp_path / partials.KEPT_NAME
    killed.mkdir()
    (killed / "half").write_bytes(b"half")
    (tmp_path / "weights.bin").write_bytes(b"whole")
    partials.forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]


def test_what_a_living_download_holds_stays(tmp_path: Path) -> None:
    folder, lock = partials._take(tmp_path)
    partials.forget(tmp_path)
    assert folder.is_dir()
    partials._close(lock)
    partials.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_no_matter(tmp_path: Path) -> None:
    partials.forget(tmp_path / "none")
