"""What we do beyond git: our own file over git's, what never goes up, and what is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from launcher.errors import SpecError
from launcher.sync.local import ignore, tree


def kept(root: Path) -> set[str]:
    """Files and links that go up, less the ignore files themselves."""
    items = tree.scan(root, ignore=ignore.rules(root)).items
    return {item.name for item in items if item.kind != "d" and not item.name.endswith("ignore")}


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_gpurunignore_is_laid_over_gitignore(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "b.csv", "c.bin", "sub/c.csv", "sub/d.log", "sub/e.txt")
    (tmp_path / ".gitignore").write_text("*.csv\n*.bin\n")
    (tmp_path / ".gpurunignore").write_text("*.log\n!b.csv\n")
    (tmp_path / "sub" / ".gitignore").write_text("!c.csv\n")
    (tmp_path / "sub" / ".gpurunignore").write_text("e.txt\n!d.log\n")
    assert kept(tmp_path) == {"b.csv", "sub/c.csv", "sub/d.log"}


def test_one_file_comes_back_out_of_a_folder_that_git_leaves_out(tmp_path: Path) -> None:
    make(tmp_path, "data/raw/train.csv", "data/raw/test.csv", "data/x", "data/deep/er/y", "data/deep/er/z", "data2/x")
    (tmp_path / ".gitignore").write_text("data*/\n")
    (tmp_path / ".gpurunignore").write_text("!data/raw/train.csv\n!/data/deep/*/y\n")
    assert kept(tmp_path) == {"data/raw/train.csv", "data/deep/er/y"}
    items = tree.scan(tmp_path, ignore=ignore.rules(tmp_path)).items
    folders = [item.name for item in items if item.kind == "d"]
    assert folders == ["data", "data/deep", "data/deep/er", "data/raw"]


def test_a_wide_line_brings_no_caches_back(tmp_path: Path) -> None:
    make(
        tmp_path, "src/a.py", "src/b.c", "src/__pycache__/a.py", "src/in/.git/hooks/h.py", "src/in/e.py", "src/env/e.py"
    )
    make(tmp_path, "src/env/pyvenv.cfg")
    (tmp_path / ".gitignore").write_text("src/\n")
    (tmp_path / ".gpurunignore").write_text("!src/**/*.py\n")
    assert kept(tmp_path) == {"src/a.py", "src/in/e.py"}


def test_a_folder_that_comes_back_comes_back_whole(tmp_path: Path) -> None:
    make(tmp_path, "data/raw/train.csv", "data/raw/a/b.csv", "data/raw/c.log", "data/x")
    (tmp_path / ".gitignore").write_text("data/\n*.log\n")
    (tmp_path / ".gpurunignore").write_text("!data/raw/\n")
    assert kept(tmp_path) == {"data/raw/train.csv", "data/raw/a/b.csv"}


def test_nothing_comes_back_out_of_what_gpurunignore_leaves_out_itself(tmp_path: Path) -> None:
    make(tmp_path, "data/train.csv", "x")
    (tmp_path / ".gpurunignore").write_text("data\n!data/train.csv\n")
    assert kept(tmp_path) == {"x"}


def test_caches_environments_and_results_never_go_up(tmp_path: Path) -> None:
    caches = ["__pycache__/m.pyc", "p/__pycache__/m.pyc", ".mypy_cache/x", ".ipynb_checkpoints/x", "node_modules/x.js"]
    more = [".tox/x", ".nox/x", ".terraform/x", ".cache/x", ".hypothesis/x", "p/.env/lib/x", ".venv/x"]
    environments = ["env of mine/lib/x.py", "conda/conda-meta/history", "conda/bin/python"]
    make(tmp_path, *caches, *more, *environments, ".git/config", "runs/old/weights.npz", ".DS_Store")
    (tmp_path / "env of mine" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    make(tmp_path, "train.py", "p/runs/kept.txt", ".env", "env/rules.py", "venv/x")
    # Lines that keep code alone are common; they are not meant to bring those back.
    (tmp_path / ".gpurunignore").write_text("*.md\n!*/\n!*.py\n")
    assert kept(tmp_path) == {"train.py", "p/runs/kept.txt", ".env", "env/rules.py", "venv/x"}
    folders = {item.name for item in tree.scan(tmp_path, ignore=ignore.rules(tmp_path)).items if item.kind == "d"}
    assert folders == {"p", "p/runs", "env", "venv"}


def test_gpurunignore_brings_them_back_by_name(tmp_path: Path) -> None:
    make(tmp_path, ".cache/m.bin", "runs/a/w.npz", "env/pyvenv.cfg", "sub/conda/conda-meta/h", "sub/.cache/x", ".git/x")
    (tmp_path / ".gpurunignore").write_text("!/.cache\n!runs/\n!env\n!sub/conda\n!.git/x\n")
    assert kept(tmp_path) == {".cache/m.bin", "runs/a/w.npz", "env/pyvenv.cfg", "sub/conda/conda-meta/h", ".git/x"}


def test_an_environment_at_the_top_is_what_was_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "pyvenv.cfg", "train.py")
    assert kept(tmp_path) == {"pyvenv.cfg", "train.py"}


def test_data_goes_up_whole(tmp_path: Path) -> None:
    make(tmp_path, "train.csv", "runs/x", ".git/y", "env/pyvenv.cfg", "sub/.cache/x")
    (tmp_path / ".gitignore").write_text("*\n")
    names = {item.name for item in tree.scan(tmp_path, ignore=ignore.nothing()).items}
    assert {"train.csv", "runs/x", ".git/y", ".gitignore", "env/pyvenv.cfg", "sub/.cache/x"} <= names


def test_a_folder_called_like_an_ignore_file_is_no_matter(tmp_path: Path) -> None:
    make(tmp_path, ".gitignore/a", "b", ".gpurunignore/c")
    assert kept(tmp_path) == {".gitignore/a", "b", ".gpurunignore/c"}


def test_a_pipe_called_like_an_ignore_file_holds_nothing_up(tmp_path: Path) -> None:
    make(tmp_path, "b")
    os.mkfifo(tmp_path / ".gpurunignore")
    os.mkfifo(tmp_path / ".gitignore")
    assert kept(tmp_path) == {"b"}


def test_git_follows_no_link_to_its_file_and_neither_do_we(tmp_path: Path) -> None:
    make(tmp_path, "tree/a.log", "tree/a.csv")
    (tmp_path / "shared").write_text("*.log\n")
    (tmp_path / "ours").write_text("*.csv\n")
    (tmp_path / "tree" / ".gitignore").symlink_to("../shared")
    (tmp_path / "tree" / ".gpurunignore").symlink_to("../ours")
    assert kept(tmp_path / "tree") == {"a.log"}


def test_whoever_launches_from_a_folder_that_git_leaves_out_means_it(tmp_path: Path) -> None:
    make(tmp_path, "scratch/try/train.py", "scratch/try/a.log", "scratch/try/b.csv")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("/scratch\n*.log\n")
    (tmp_path / "scratch" / "try" / ".gitignore").write_text("*.csv\n")
    assert kept(tmp_path / "scratch" / "try") == {"train.py", "a.log"}


def test_both_files_above_the_folder_count_up_to_the_repository_s_top(tmp_path: Path) -> None:
    make(tmp_path, "top/sub/code/a.log", "top/sub/code/b.csv", "top/sub/code/in/c.bin", "top/sub/code/d.txt")
    (tmp_path / ".gitignore").write_text("*.txt\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "top", check=True)
    (tmp_path / "top" / ".gitignore").write_text("*.log\nsub/code/in/c.bin\n")
    (tmp_path / "top" / "sub" / ".gpurunignore").write_text("/code/b.csv\n!a.log\n")
    assert kept(tmp_path / "top" / "sub" / "code") == {"a.log", "d.txt"}


def test_a_further_work_tree_has_the_repository_s_exclude_file(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(tmp_path / "main")]
    (tmp_path / "main").mkdir()
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "other")], check=True, stderr=subprocess.DEVNULL)
    (tmp_path / "main" / ".git" / "info").mkdir(exist_ok=True)
    (tmp_path / "main" / ".git" / "info" / "exclude").write_text("*.log\n")
    make(tmp_path / "other", "a.log", "sub/b.log", "sub/c")
    assert kept(tmp_path / "other") == {"sub/c"}
    assert kept(tmp_path / "other" / "sub") == {"c"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_ignore_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("x")
    (tmp_path / ".gitignore").chmod(0)
    with pytest.raises(SpecError, match=r"\.gitignore: Permission denied") as caught:
        kept(tmp_path)
    assert "chmod" in caught.value.hint
