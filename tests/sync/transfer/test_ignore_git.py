"""Git is the oracle: whatever it leaves out of a tree, we leave out, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.sync.local import ignore, tree

CASES = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = [
    b"a", b"b", b"ab", b"foo", b"bar", b"a.py", b"b.log", b"A", b"x]", b"a b", b"a ", b" a", b"#h", b"!k", b"-r",
    b"a\\b", b"[a]", b"*", b"a\nb", b"\xc3\xa9", b"\xe9", b"a\t", b"9", b"_", b"keep",
]  # fmt: skip
FOLDERS = [b"foo", b"bar", b"a", b"deep", b"a b", b"\xc3\xa9", b"x]"]
PIECES = [
    b"a", b"b", b"foo", b"bar", b"keep", b".py", b".log", b"*", b"**", b"?", b"/", b"/", b"/**/", b"**/", b"/**", b" ",
    b"\\ ", b"\\", b"\\*", b"\\#", b"\\!", b"#", b"!", b"[ab]", b"[!a]", b"[^b]", b"[a-z]", b"[z-a]", b"[]]", b"[x\\]]",
    b"[]-a]", b"[a-]", b"[-b]", b"[[:alpha:]]", b"[[:digit:]_]", b"[[:nonsense:]]", b"[:", b"[[:a]", b"[", b"]",
    b"[!/]", b"[.-0]", b"[[:punct:]]", b"[a[:space:]]", b"x", b"A", b"\xc3\xa9", b"\xe9", b"\t", b"\r", b"-", b"deep",
]  # fmt: skip
LIKELY = [
    b"*.log", b"!b.log", b"foo", b"foo/", b"/foo", b"foo/**", b"foo/**/", b"!foo/keep", b"!foo/keep/", b"foo/*",
    b"!foo/bar/", b"**/foo", b"bar/**/a.py", b"bar", b"!bar/keep", b"keep/", b"*", b"!*/", b"!*.py", b"/*", b"!/bar",
    b"a.?y", b"[ab].log", b"# b.log", b"", b"baz/foo/", b"\\#h", b"*.py ", b"deep/**/a.py", b"!a.py", b"foo**/bar",
    b"/", b"//", b"!", b"**", b"**/", b"*/", b"/**", b"a\\ ", b"a  ", b"\\!k", b"deep/*/foo", b"a*b", b"?", b"??",
]  # fmt: skip
LINE = st.sampled_from(LIKELY) | st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map(b"".join)
LINES = st.lists(LINE, min_size=1, max_size=5)
WAYS = st.lists(st.sampled_from(FOLDERS), max_size=3)
PATHS = st.builds(lambda way, name: b"/".join([*way, name]), WAYS, st.sampled_from(NAMES))
TREES = st.sets(PATHS, min_size=3, max_size=14)
IGNORE_FILES = st.dictionaries(WAYS.map(b"/".join), LINES, min_size=1, max_size=4)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is the oracle here, and is not on this machine")
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "-q")
    return made


def git(folder: Path, *arguments: str) -> bytes:
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    return subprocess.check_output(["git", *arguments], cwd=folder, env=environment)


def git_keeps(folder: Path) -> set[bytes]:
    return set(filter(None, git(folder, "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")))


def we_keep(folder: Path) -> set[bytes]:
    scanned = tree.scan(folder, ignore=ignore.rules(folder))
    return {os.fsencode(item.name) for item in scanned.items if item.kind != "d"}


def make(root: Path, names: set[bytes], files: dict[bytes, list[bytes]], file_name: str, end: bytes = b"\n") -> None:
    """Files of those names, less those whose name is a folder's, and ignore files in folders."""
    for old in root.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in sorted(names, key=lambda name: (-name.count(b"/"), name)):
        path = root / os.fsdecode(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (FileExistsError, NotADirectoryError):
            continue
    for folder, lines in files.items():
        path = root / os.fsdecode(folder)
        if path.is_dir():
            (path / file_name).write_bytes(end.join(lines) + end)


@CASES
@given(names=TREES, files=IGNORE_FILES, end=st.sampled_from([b"\n", b"\r\n"]))
def test_gitignore_means_what_git_says(repository, names, files, end) -> None:
    make(repository, names, files, ".gitignore", end)
    assert we_keep(repository) == git_keeps(repository)


@CASES
@given(names=TREES, files=IGNORE_FILES)
def test_gpurunignore_means_what_git_would_say(repository, names, files) -> None:
    make(repository, names, files, ".gitignore")
    expected = {name.replace(b".gitignore", b".gpurunignore") for name in git_keeps(repository)}
    make(repository, names, files, ".gpurunignore")
    # What names the ignore files themselves is not the same in both.
    told = {name for name in we_keep(repository) ^ expected if not name.endswith(b".gpurunignore")}
    assert not told


@CASES
@given(names=TREES, files=IGNORE_FILES, exclude=LINES, way=st.lists(st.sampled_from(FOLDERS), min_size=1, max_size=2))
def test_a_folder_below_the_top_obeys_what_lies_above(repository, names, files, exclude, way) -> None:
    below = b"/".join(way)
    make(repository, {below + b"/" + name for name in names}, files, ".gitignore")
    (repository / ".git" / "info" / "exclude").write_bytes(b"\n".join(exclude))
    workdir = repository / os.fsdecode(below)
    all_out = subprocess.run(["git", "check-ignore", "-q", "."], cwd=workdir, check=False).returncode == 0
    if not all_out:
        assert we_keep(workdir) == git_keeps(workdir)
