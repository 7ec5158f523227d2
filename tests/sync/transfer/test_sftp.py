"""A machine without python3, over a real sshd: files go by SFTP."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launcher import berth
from launcher.domain import TransferProgress
from launcher.errors import NoPython, RemoteError, TransferError
from launcher.prepare import Luggage
from launcher.sync import remote_agent, transfer
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore, tree
from launcher.sync.sftp import download as sftp_download
from launcher.sync.sftp import fallback as sftp
from launcher.sync.sftp import upload as sftp_upload
from launcher.sync.sftp.fallback import NO_SUMS
from launcher.sync.wire.lines import Lines

# A start folder, so that nothing is ever written to the present user's own home.
SUBSYSTEM = "Subsystem sftp internal-sftp -d {home}"
PROGRAMS = ("bash", "sh", "cat", "mkdir", "mv", "sha256sum")


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def machine(make_sshd: Callable[..., Any], home: Path, tmp_path: Path) -> Iterator[Callable[..., Lines]]:
    """Lines to a machine whose PATH holds these programs alone, and which has this subsystem or none."""
    opened: list[Lines] = []

    def make(*, programs: tuple[str, ...] = PROGRAMS, subsystem: str = SUBSYSTEM) -> Lines:
        few = tmp_path / f"bin{len(opened)}"
        few.mkdir()
        for program in programs:
            (few / program).symlink_to(shutil.which(program) or "")
        server = make_sshd(HOME=str(home), PATH=str(few))
        config = (server.folder / "config").read_text()
        kept = [line for line in config.splitlines() if not line.startswith("Subsystem")]
        (server.folder / "config").write_text("\n".join([*kept, subsystem.format(home=home), ""]))
        server.start()
        lines = Lines(server.endpoint())
        opened.append(lines)
        if subsystem == SUBSYSTEM:
            with sftp.far_side(lines, lambda: None) as far:
                assert far.home == bytes(home)
        return lines

    yield make
    for lines in opened:
        lines.close()


def scan(root: Path) -> tree.Scan:
    return tree.scan(root, ignore=ignore.nothing())


def push(lines: Lines, root: Path, remote_dir: str = "run/code", **more: Any) -> Any:
    return sftp_upload.push(lines, scan(root), remote_dir, more.pop("report", silent), "code", **more)


def pull(lines: Lines, dest: Path, remote_dir: str = "run/output", **more: Any) -> Any:
    return sftp_download.pull(lines, remote_dir, dest, silent, "results", **more)


def fill(root: Path) -> Path:
    (root / "p/q").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "empty").chmod(0o750)
    (root / "train.py").write_bytes(b"print()\n")
    (root / "train.py").chmod(0o755)
    (root / "p/q/nothing").touch()
    (root / "p/big").write_bytes(os.urandom(5_000_001))
    (root / "-rf 'it' \"x\"\n").write_bytes(b"odd")
    (root / os.fsdecode(b"caf\xe9\\")).write_bytes(b"not UTF-8")
    (root / "p/link").symlink_to("../train.py")
    os.utime(root / "train.py", ns=(1_600_000_000_123_456_789,) * 2)
    return root


def shape(root: Path) -> dict[str, object]:
    """Names, contents, modes, whole seconds, links."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_dir():
            found[name] = path.stat().st_mode
        else:
            found[name] = (path.read_bytes(), path.stat().st_mode, int(path.stat().st_mtime))
    return found


def leftovers(home: Path) -> list[str]:
    return [path.name for path in (home / "run").iterdir() if path.name.startswith(".sftp")]


# What the user sees.


def test_without_python_files_go_by_sftp_and_that_is_told_once(tmp_path: Path, home: Path, machine: Any) -> None:
    lines, told = machine(), []
    root = fill(tmp_path / "code")
    sent = transfer.push(lines, scan(root), "run/code", silent, "code", warn=told.append)
    assert told == [transfer.FALLBACK]
    assert shape(home / "run/code") == shape(root)
    assert (sent.files, sent.size_bytes, sent.sent_bytes) == (5, 5_000_021, 5_000_021)
    told.clear()
    transfer.pull(lines, "run/code", tmp_path / "home", silent, "results", warn=told.append)
    assert told == [transfer.FALLBACK]
    assert (tmp_path / "home/p/big").read_bytes() == (root / "p/big").read_bytes()


def test_a_job_is_refused_before_anything_goes_up(home: Path, machine: Any) -> None:
    connection = machine().control.fresh(10.0)
    with pytest.raises(NoPython, match="no python3") as caught:
        remote_agent.install(connection, RemoteLayout("digits-7f3a"))
    assert "python3 3.8" in caught.value.hint
    assert list(home.iterdir()) == []


def test_a_launch_ends_before_anything_goes_up(tmp_path: Path, home: Path, machine: Any) -> None:
    lines = machine()
    live = SimpleNamespace(layout=RemoteLayout("digits-7f3a"))
    luggage = Luggage(code=scan(fill(tmp_path / "code")), data=None, objects=())
    with pytest.raises(NoPython, match="no python3"):
        berth.fill(cast("Any", live), lines, lines.control.fresh(10.0), luggage)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("subsystem", ["", "Subsystem sftp /nowhere/sftp-server"])
def test_without_sftp_either_it_is_an_error_that_says_so(
    tmp_path: Path, home: Path, machine: Any, subsystem: str
) -> None:
    lines = machine(subsystem=subsystem)
    for work in (
        lambda: transfer.push(lines, scan(fill(tmp_path / "code")), "run/code", silent, "code", warn=[].append),
        lambda: transfer.pull(lines, "run/output", tmp_path / "home", silent, "results", warn=[].append),
    ):
        with pytest.raises(RemoteError, match="neither python3 nor an SFTP server") as caught:
            work()
        assert "python3" in caught.value.hint
    assert list(home.iterdir()) == []


def test_progress_ends_at_the_whole(tmp_path: Path, machine: Any) -> None:
    seen: list[TransferProgress] = []
    push(machine(), fill(tmp_path / "code"), report=seen.append)
    assert seen[-1].finished
    assert (seen[-1].done_bytes, seen[-1].done_files) == (5_000_021, 5)


# Updates.


def test_only_what_changed_goes_up_again(tmp_path: Path, home: Path, machine: Any) -> None:
    lines, there = machine(), home / "run/code"
    root = fill(tmp_path / "code")
    push(lines, root)
    before = (there / "p/big").stat().st_ino
    (there / "by_the_job").write_bytes(b"keep")
    (there / "p/by_the_job").write_bytes(b"keep")
    assert push(lines, root).files == 0
    # Within the second, and of the same size: the record tells what the disk there cannot.
    found = (root / "train.py").stat()
    (root / "train.py").write_bytes(b"PRINT()\n")
    os.utime(root / "train.py", ns=(found.st_mtime_ns, found.st_mtime_ns + 1000))
    (root / "p/q/nothing").unlink()
    (root / "p/q").rmdir()
    (root / "p/q").write_bytes(b"now a file")
    (root / "p/link").unlink()
    (root / "p/link").mkdir()
    (root / "p/link/new").write_bytes(b"now below a folder")
    (root / "empty").rmdir()
    (root / "empty").symlink_to("p")
    (root / "-rf 'it' \"x\"\n").chmod(0o600)
    sent = push(lines, root)
    assert sent.files == 3
    assert (there / "p/big").stat().st_ino == before
    expected = shape(root)
    for name in ("by_the_job", "p/by_the_job"):
        assert (there / name).read_bytes() == b"keep"
        (there / name).unlink()
    assert shape(there) == expected
    assert leftovers(home) == []
    assert push(lines, root).files == 0


def test_what_the_job_touched_is_put_right(tmp_path: Path, home: Path, machine: Any) -> None:
    lines = machine()
    root = fill(tmp_path / "code")
    push(lines, root)
    (home / "run/code/p/q/nothing").write_bytes(b"something")
    (home / "run/code/train.py").unlink()
    assert push(lines, root).files == 2
    assert shape(home / "run/code") == shape(root)


def test_what_the_job_made_is_not_run_over(tmp_path: Path, home: Path, machine: Any) -> None:
    lines, there = machine(), home / "run/code"
    root = tmp_path / "code"
    (root / "a").mkdir(parents=True)
    push(lines, root)
    (there / "weights").mkdir()
    (there / "weights/w1").write_bytes(b"dear")
    (root / "weights").write_bytes(b"a file here")
    (root / "b").write_bytes(b"b")
    with pytest.raises(TransferError, match="weights cannot take its place"):
        push(lines, root)
    assert (there / "weights/w1").read_bytes() == b"dear"
    assert not (there / "b").exists()


def test_nothing_goes_through_a_link(tmp_path: Path, home: Path, machine: Any) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home / "run").mkdir()
    (home / "run/code").symlink_to(elsewhere)
    lines = machine()
    root = fill(tmp_path / "code")
    with pytest.raises(TransferError, match="no folder"):
        push(lines, root)
    (home / "run/code").unlink()
    push(lines, root)
    shutil.rmtree(home / "run/code/p")
    (home / "run/code/p").symlink_to(elsewhere)
    push(lines, root)
    assert list(elsewhere.iterdir()) == []
    assert shape(home / "run/code") == shape(root)


def test_an_update_that_is_cut_leaves_the_old_tree_and_goes_on(
    tmp_path: Path, home: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = machine()
    root = fill(tmp_path / "code")
    push(lines, root)
    before = shape(home / "run/code")
    (root / "first").write_bytes(os.urandom(3_000_000))
    (root / "second").write_bytes(os.urandom(3_000_000))
    write = sftp_upload._Upload._write

    def cut(upload: Any, item: Any, descriptor: int) -> Any:
        if item.name == "second":
            came.wait(10)
            lines.control.current().close()
        result = write(upload, item, descriptor)
        came.set()
        return result

    came = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(sftp_upload._Upload, "_write", cut)
        with pytest.raises(RemoteError):
            push(lines, root)
    assert shape(home / "run/code") == before
    sent = push(lines, root)
    assert (sent.files, sent.reused_bytes) == (1, 3_000_000)
    assert shape(home / "run/code") == shape(root)
    assert leftovers(home) == []


# Truth.


def test_a_file_that_changes_while_it_is_read_goes_once_more(
    tmp_path: Path, home: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "code")
    write = sftp_upload._Upload._write
    seen: list[str] = []

    def changing(upload: Any, item: Any, descriptor: int) -> Any:
        if item.name == "p/big" and not seen:
            seen.append(item.name)
            (root / "p/big").write_bytes(b"otherwise")
        return write(upload, item, descriptor)

    monkeypatch.setattr(sftp_upload._Upload, "_write", changing)
    assert push(machine(), root).changed == ("p/big",)
    assert (home / "run/code/p/big").read_bytes() == b"otherwise"


def test_content_that_is_spoilt_over_there_is_found_by_its_sum(
    tmp_path: Path, home: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "code")
    wrong = sftp_upload._Upload._wrong
    rounds: list[list[str]] = []

    def spoiling(upload: Any, sums: dict[str, str]) -> list[str]:
        staged = home / "run/.sftp-code/p/big"
        if not rounds:
            found = staged.stat()
            staged.write_bytes(bytes(found.st_size))
            os.utime(staged, ns=(found.st_atime_ns, found.st_mtime_ns))
        rounds.append(wrong(upload, sums))
        return rounds[-1]

    monkeypatch.setattr(sftp_upload._Upload, "_wrong", spoiling)
    push(machine(), root)
    assert rounds == [["p/big"], []]
    assert shape(home / "run/code") == shape(root)


def test_without_sha256sum_sizes_and_times_do_and_that_is_told(tmp_path: Path, home: Path, machine: Any) -> None:
    lines = machine(programs=("bash", "sh"))
    root, told = fill(tmp_path / "code"), []
    push(lines, root, note=told.append)
    assert told == [NO_SUMS]
    assert shape(home / "run/code") == shape(root)
    pull(lines, tmp_path / "home", "run/code", note=told.append)
    assert told == [NO_SUMS, NO_SUMS]
    assert (tmp_path / "home/p/big").read_bytes() == (root / "p/big").read_bytes()


# Home.


def test_results_come_home_as_they_are(tmp_path: Path, home: Path, machine: Any) -> None:
    lines, dest = machine(), tmp_path / "home"
    output = fill(home / "run/output")
    (output / "leads out").symlink_to("/etc/passwd")
    os.mkfifo(output / "pipe")
    told: list[str] = []
    manifest = pull(lines, dest, note=told.append)
    assert sorted(told) == [
        "leads out was left on the machine: it is a link that leads out",
        "pipe was left on the machine: it is neither a file, a folder nor a link",
    ]
    (output / "leads out").unlink()
    (output / "pipe").unlink()
    found, expected = shape(dest), shape(output)
    assert found.keys() == expected.keys() == {entry.name for entry in manifest.entries}
    for name in ("train.py", "p/big", "p/link", "p/q/nothing", os.fsdecode(b"caf\xe9\\")):
        assert found[name] == expected[name], name
    # Once more: nothing is sent that is here and right; what is not, is.
    inode = (dest / "p/big").stat().st_ino
    (dest / "train.py").write_bytes(b"PRINT()\n")
    assert pull(lines, dest) == manifest
    assert (dest / "p/big").stat().st_ino == inode
    assert shape(dest) == found


def test_what_keep_does_not_name_stays_there(tmp_path: Path, home: Path, machine: Any) -> None:
    fill(home / "run/output")
    manifest = pull(machine(), tmp_path / "home", keep=lambda name: name.endswith(".py"))
    assert [entry.name for entry in manifest.entries] == ["train.py"]
    assert [path.name for path in (tmp_path / "home").rglob("*")] == ["train.py"]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path, machine: Any) -> None:
    assert pull(machine(), tmp_path / "home").entries == ()


def test_a_download_that_is_cut_goes_on(
    tmp_path: Path, home: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, dest = machine(), tmp_path / "home"
    output = home / "run/output"
    output.mkdir(parents=True)
    (output / "weights").write_bytes(os.urandom(12_000_000))
    pieces = sftp_download._Download._pieces
    moved: list[int] = []

    def cut(download: Any, handle: bytes, start: int, end: int) -> Iterator[bytes]:
        for piece in pieces(download, handle, start, end):
            moved.append(len(piece))
            yield piece
            if sum(moved) > 6_000_000 and not done:
                done.append(True)
                lines.control.current().close()

    done: list[bool] = []
    monkeypatch.setattr(sftp_download._Download, "_pieces", cut)
    with pytest.raises(RemoteError):
        pull(lines, dest)
    assert not (dest / "weights").exists()
    pull(lines, dest)
    assert (dest / "weights").read_bytes() == (output / "weights").read_bytes()
    assert sum(moved) < 13_500_000
    assert [path.name for path in dest.iterdir()] == ["weights"]


def test_a_file_that_changes_while_it_is_read_comes_as_it_is_then(
    tmp_path: Path, home: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = home / "run/output"
    output.mkdir(parents=True)
    (output / "weights").write_bytes(os.urandom(3_000_000))
    right = sftp_download._Download._right
    seen: list[bool] = []

    def changing(download: Any, far: Any, *rest: Any) -> bool:
        if not seen:
            (output / "weights").write_bytes(b"newer")
        seen.append(right(download, far, *rest))
        return seen[-1]

    monkeypatch.setattr(sftp_download._Download, "_right", changing)
    (entry,) = pull(machine(), tmp_path / "home").entries
    assert seen == [False, True]
    assert entry.size_bytes == 5
    assert (tmp_path / "home/weights").read_bytes() == b"newer"


def test_a_link_of_ours_is_not_written_through(tmp_path: Path, home: Path, machine: Any) -> None:
    fill(home / "run/output")
    elsewhere, dest = tmp_path / "elsewhere", tmp_path / "home"
    elsewhere.mkdir()
    dest.mkdir()
    (dest / "p").symlink_to(elsewhere)
    with pytest.raises(TransferError, match="nothing is written through it"):
        pull(machine(), dest)
    assert list(elsewhere.iterdir()) == []
