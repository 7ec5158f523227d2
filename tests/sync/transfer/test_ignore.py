from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.domain import FileKind
from launcher.errors import SpecError
from launcher.sync import ignore
from launcher.sync.manifest import scan

TREE = [
    "a.py", "a.log", "b.log", "foo/a.py", "foo/b.log", "foo/keep/a.log", "foo/bar/b.py", "bar/foo/a.py",
    "bar/b.log", "bar/keep", "baz/foo", "baz/ x", "baz/#h", "deep/er/foo/b.py",
]  # fmt: skip
LINES = st.sampled_from(
    [
        "*.log", "!b.log", "foo", "foo/", "/foo", "foo/**", "!foo/keep", "!foo/keep/", "foo/*", "!foo/bar/", "**/foo",
        "bar/**/a.py", "bar", "!bar/keep", "keep/", "*", "!*/", "!*.py", "/*", "!/bar", "a.?y", "[ab].log", "# b.log",
        "", "baz/foo/", "\\#h", "*.py ", "er/foo", "deep/**/b.py", "!a.log",
    ]
)  # fmt: skip
FILES = st.dictionaries(st.sampled_from([".", "foo", "bar", "deep/er"]), st.lists(LINES, min_size=1, max_size=4))


def kept(root: Path) -> set[str]:
    scanned = scan(root, ignore=ignore.rules(root))
    return {entry.name for entry in scanned.manifest.entries if entry.kind is FileKind.FILE}


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is the oracle here, and is not on this machine")
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    make(root, *TREE)
    return root


def git_keeps(root: Path) -> set[str]:
    argv = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(root)}
    return set(filter(None, subprocess.check_output(argv, cwd=root, env=environment, text=True).split("\0")))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_gitignore_means_what_git_says(repository: Path, files: dict[str, list[str]]) -> None:
    for folder, lines in files.items():
        (repository / folder / ".gitignore").write_text("\n".join(lines) + "\n")
    try:
        assert kept(repository) == git_keeps(repository)
    finally:
        for folder in files:
            (repository / folder / ".gitignore").unlink()


def test_gpurunignore_replaces_gitignore(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "b.csv", "sub/c.csv", "sub/d.log")
    (tmp_path / ".gitignore").write_text("*.csv\n")
    (tmp_path / ".gpurunignore").write_text("*.log\n")
    assert kept(tmp_path) == {"b.csv", "sub/c.csv", ".gitignore", ".gpurunignore"}


def test_caches_environments_and_results_never_go_up(tmp_path: Path) -> None:
    caches = ["__pycache__/m.pyc", "p/__pycache__/m.pyc", ".mypy_cache/x", ".ipynb_checkpoints/x", "node_modules/x.js"]
    out = [*caches, ".git/config", ".venv/lib/x.py", "env of mine/lib/x.py", "runs/old/weights.npz", ".DS_Store"]
    make(tmp_path, "train.py", "p/runs/kept.txt", *out)
    for environment in (".venv", "env of mine"):
        (tmp_path / environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (tmp_path / ".gpurunignore").write_text("!.git\n!runs\n!__pycache__\n")
    assert kept(tmp_path) == {"train.py", "p/runs/kept.txt", ".gpurunignore"}


def test_data_goes_up_whole(tmp_path: Path) -> None:
    make(tmp_path, "train.csv", "runs/x", ".git/y")
    (tmp_path / ".gitignore").write_text("*\n")
    names = {entry.name for entry in scan(tmp_path, ignore=ignore.nothing()).manifest.entries}
    assert {"train.csv", "runs/x", ".git/y", ".gitignore"} <= names


def test_a_folder_called_like_an_ignore_file_is_no_matter(tmp_path: Path) -> None:
    make(tmp_path, ".gitignore/a", "b")
    assert kept(tmp_path) == {".gitignore/a", "b"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_ignore_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("x")
    (tmp_path / ".gitignore").chmod(0)
    with pytest.raises(SpecError, match=r"\.gitignore: Permission denied") as caught:
        kept(tmp_path)
    assert "chmod" in caught.value.hint
