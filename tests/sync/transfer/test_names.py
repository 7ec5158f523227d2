from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import FileEntry, FileKind
from launcher.errors import TransferError
from launcher.sync.names import check_link, check_name, check_tree, leads_inside, shown, told

PART = st.sampled_from(["..", ".", "", "a", "b", "weights.npz", "\0", "c\\d", "con", "x:", "é", "\udce9", "..."])
NAMES = st.lists(PART, max_size=5).map("/".join)


def entry(name: str, kind: FileKind = FileKind.FILE, target: str = "") -> FileEntry:
    return FileEntry(name=name, kind=kind, size_bytes=0, mode=0o644, mtime_ns=0, link_target=target)


@given(NAMES)
def test_what_is_accepted_lies_below_the_folder(name: str) -> None:
    try:
        check_name(name)
    except TransferError:
        return
    path = PurePosixPath("/some/tree") / name
    assert os.path.normpath(path) == str(path)
    assert PurePosixPath("/some/tree") in path.parents


@pytest.mark.parametrize("name", ["w.npz", "a/b/c", "...", "-rf", "a b", "é", "\udce9", ".hidden", "a\nb", "c\\d"])
def test_usual_and_odd_names_are_accepted(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", "a\0b", "\ud800", "x" * 256]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(TransferError, match="refused"):
        check_name(name)


@pytest.mark.parametrize("name", ["c:x", "a\\..\\b", "CON", "nul.txt", "a/lpt1", "dot.", "space ", "a\nb", "a?b"])
def test_windows_refuses_what_it_reads_otherwise(name: str) -> None:
    check_name(name, windows=False)
    with pytest.raises(TransferError, match="refused"):
        check_name(name, windows=True)


@given(name=NAMES, target=NAMES, links=st.dictionaries(st.sampled_from("abcd"), NAMES, max_size=3))
def test_links_that_are_accepted_stay_inside_whatever_other_links_there_are(
    tmp_path_factory: pytest.TempPathFactory, name: str, target: str, links: dict[str, str]
) -> None:
    entries = [entry(f"l{key}", FileKind.SYMLINK, value) for key, value in links.items()]
    entries.append(entry(f"deep/er/{name}", FileKind.SYMLINK, target))
    try:
        check_tree(entries)
    except TransferError:
        return
    root = tmp_path_factory.mktemp("tree").resolve()
    for item in entries:
        path = root / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(item.link_target)
    for item in entries:
        real = Path(os.path.realpath(root / item.name))
        assert real.is_relative_to(root)


@pytest.mark.parametrize(
    ("name", "target", "inside"),
    [
        ("a", "b", True),
        ("a", "..", False),
        ("d/a", "../b", True),
        ("d/a", "../../b", False),
        ("a", "/etc", False),
        ("a", "", False),
        # Behind the link `d`, which may lead anywhere inside, `..` does not mean what it reads.
        ("a", "d/../b", False),
    ],
)
def test_links(name: str, target: str, *, inside: bool) -> None:
    assert leads_inside(name, target) is inside
    if not inside:
        with pytest.raises(TransferError, match="leads out"):
            check_link(name, target)


def test_nothing_may_lie_below_a_link_or_a_file() -> None:
    for kind in (FileKind.SYMLINK, FileKind.FILE):
        with pytest.raises(TransferError, match="no folder"):
            check_tree([entry("a", kind, "b"), entry("a/x")])
        with pytest.raises(TransferError, match="no folder"):
            check_tree([entry("a/y/x"), entry("a", kind, "b")])


def test_nothing_may_come_twice() -> None:
    with pytest.raises(TransferError, match="twice"):
        check_tree([entry("a"), entry("a")])
    with pytest.raises(TransferError, match="twice"):
        check_tree([entry("a", FileKind.SYMLINK, "b"), entry("a", FileKind.DIRECTORY)])
    check_tree([entry("a"), entry("A")], fold_case=False)
    with pytest.raises(TransferError, match="one on this disk"):
        check_tree([entry("a"), entry("A")], fold_case=True)


@given(st.text())
def test_a_shown_name_cannot_steer_a_terminal(name: str) -> None:
    assert shown(name).isprintable()


@given(st.text(max_size=2000))
def test_what_is_told_is_one_short_line_without_control_characters(text: str) -> None:
    line = told(text)
    assert line.isprintable()
    assert len(line) <= 10 * 500 + 3


def test_what_is_harmless_is_told_as_it_is() -> None:
    assert told("no room for \u00e9\n  at 3%\n") == "no room for \u00e9 at 3%"
    assert told("x" * 501) == "x" * 500 + "..."
    assert told("\x1b[2J\x07\u202egpj") == r"\x1b[2J\x07\u202egpj"


def test_a_name_without_end_is_cut() -> None:
    assert shown("n" * 4096) == "n" * 4096
    assert len(shown("n" * 10**6)) == 4099
