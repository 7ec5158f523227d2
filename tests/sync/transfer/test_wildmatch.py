"""Pattern by pattern against `git check-ignore`: many of them, odd ones, and many names for each."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from launcher.sync.local import ignore_file, wildmatch

CHARACTERS = st.sampled_from([b"a", b"b", b"-", b"]", b"[", b"!", b"^", b"\\", b"/", b":", b"*", b"?", b".", b"\xc3"])
INSIDE = st.lists(CHARACTERS | st.sampled_from([b"a-b", b"[:alpha:]", b"[:punct:]", b"[:x:]", b"\\]"]), max_size=4)
BRACKET = INSIDE.map(lambda parts: b"[" + b"".join(parts) + b"]")
STARS = st.sampled_from([b"**/", b"/**", b"/**/", b"**", b"*", b"a/", b"/b", b"ab"])
WAYS = st.lists(st.sampled_from([b"a", b"b", b"**", b"*", b"/", b"/", b"\\/", b"?"]), min_size=2, max_size=7)
PATTERN = st.lists(CHARACTERS | BRACKET | STARS | st.just(b"[[:]"), min_size=1, max_size=5).map(b"".join) | WAYS.map(
    b"".join
)
PARTS = [
    b"a",
    b"b",
    b"ab",
    b"-",
    b"]",
    b"[",
    b"!",
    b"^",
    b"\\",
    b":",
    b"a\nb",
    b".a",
    b"\xc3\xa9",
    b"aab",
    b"a-b",
    b"a]",
]
NAMES = [
    *PARTS,
    *(b"a/" + part for part in PARTS),
    *(b"b/" + part for part in PARTS[:6]),
    *(b"ab/a/" + part for part in PARTS[:6]),
    b"a/b/ab/a", b"ab/b/b", b"aa/bb/ab", b"a/b/b/b", b"ab/ab/ab/ab", b"-/a", b"]/a", b"!/b", b"\\/a",
]  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is the oracle here, and is not on this machine")
    made = tmp_path_factory.mktemp("patterns")
    subprocess.run(["git", "init", "-q"], cwd=made, check=True)
    return made


def git_matches(repository: Path, patterns: list[bytes]) -> set[tuple[int, bytes]]:
    """Which names each pattern leaves out, each pattern in a folder of its own; the names need not exist."""
    asked = []
    for number, pattern in enumerate(patterns):
        folder = repository / str(number)
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_bytes(pattern + b"\n")
        asked += [b"%d/%s" % (number, name) for name in NAMES]
    done = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin", "--no-index"],
        input=b"\0".join(asked),
        cwd=repository,
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/none"},
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode in {0, 1}
    found = [line.split(b"/", 1) for line in done.stdout.split(b"\0") if line]
    return {(int(number), name) for number, name in found}


def we_match(pattern: bytes) -> set[bytes]:
    return {name for name in NAMES if left_out(ignore_file.parse(pattern + b"\n"), name.decode("latin-1"))}


def left_out(lines: ignore_file.Lines, name: str) -> bool:
    """By a line that matches it, or a folder above it."""
    parts = name.split("/")
    for depth, part in enumerate(parts):
        way = "".join(f"{above}/" for above in parts[:depth])
        line = lines.last_match(part, way, folder=depth + 1 < len(parts))
        if line is not None:
            # Exactly one line: had the quick look missed it, the scan would never have asked.
            assert line.may_match_in(way) if line.on_path else quickly_known(lines, part)
            if line.excludes:
                return True
    return False


def quickly_known(lines: ignore_file.Lines, name: str) -> bool:
    globs = lines.globs
    ending = name.endswith(tuple(lines.endings))
    return name in lines.names or ending or (globs is not None and globs.fullmatch(name) is not None)


# The message names the one pattern: there is nothing to shrink.
@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(patterns=st.lists(PATTERN, min_size=30, max_size=40))
def test_a_pattern_matches_what_git_says(repository: Path, patterns: list[bytes]) -> None:
    expected = git_matches(repository, patterns)
    for number, pattern in enumerate(patterns):
        assert (pattern, we_match(pattern)) == (pattern, {name for each, name in expected if each == number})


@pytest.mark.parametrize("pattern", ["a\\", "[a", "[", "[[:nonsense:]]", "[[:alpha:", "a[\\", "[a-"])
def test_a_broken_pattern_matches_nothing(pattern: str) -> None:
    with pytest.raises(wildmatch.NeverMatches):
        wildmatch.name_regex(pattern)
    assert ignore_file.parse(pattern.encode()).all == ()
