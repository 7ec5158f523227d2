"""What the machine has against an upload: its disk, its user's rights, its job, another upload."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RemoteError, TransferError
from launcher.sync import remote_agent
from launcher.sync.layout import RemoteLayout
from launcher.sync.local.tree import Scan
from launcher.sync.up import upload
from launcher.sync.wire.lanes import Lanes

from .pushing import MB, MIB, fill, look, push, silent, tree


def test_too_small_a_disk_there_is_told_before_anything_is_sent(
    code: Path, lines: Any, layout: RemoteLayout, connection: Any, asked: list[str]
) -> None:
    fill(code, {"huge": b"x"})
    scanned = look(code)
    free = shutil.disk_usage(connection.home).free
    huge = Scan(root=scanned.root, items=(scanned.items[0]._replace(size_bytes=free * 2),), skipped=())
    with pytest.raises(TransferError, match=r"disk is too small: \d+ MB are to go up, \d+ MB are free") as caught:
        upload.push(lines, huge, layout.code, silent, "code")
    assert "resources.disk" in caught.value.hint
    assert asked == ["state"]


@pytest.mark.parametrize("size", [8 * MB, 40_000])
def test_a_file_too_large_for_the_machine_is_told_and_does_not_hang(
    code: Path,
    connection: Any,
    lines: Any,
    layout: RemoteLayout,
    there: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    fill(code, {"a": b"fits", "big": os.urandom(size), "z": os.urandom(size)})
    original = connection.open

    def narrow(command: str) -> Any:
        stream = original(command)
        resource.prlimit(stream.process.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
        return stream

    push(lines, fill(code.parent / "warm", {"x": b""}), RemoteLayout("warm").code)
    connection.idle.clear()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "open", narrow)
        with pytest.raises(TransferError, match=r"on the machine: .*File too large.* MB are free") as caught:
            push(lines, code, layout.code)
    assert "df -h" in caught.value.hint
    assert not there.exists()
    connection.idle.clear()
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.fixture
def small_disk(connection: Any) -> Iterator[Path]:
    """The machine's home on a disk of 48 MiB of its own; gives the way to it from here."""
    command = 'mount -t tmpfs -o size=48m tmpfs "$HOME" && echo mounted && exec cat'
    try:
        holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "bash", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=connection.environment,
        )
    except FileNotFoundError:
        pytest.skip("no unshare(1) on this machine")
    with holder:
        assert holder.stdin
        assert holder.stdout
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("no disk of its own can be made for the machine: that takes root")
        original = connection.open
        connection.open = lambda command: original(f"exec nsenter -t {holder.pid} -m -- bash -c {shlex.quote(command)}")
        yield Path(f"/proc/{holder.pid}/root{connection.home}")
        connection.close()
        holder.stdin.close()


@pytest.mark.namespaces
@pytest.mark.parametrize("names", [["one"], [f"{n:03}" for n in range(100)]], ids=["one large", "many small"])
def test_a_disk_that_fills_up_is_told_and_the_next_upload_goes_on(
    code: Path, lines: Any, layout: RemoteLayout, small_disk: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    fill(code, {name: os.urandom(20 * MB // len(names)) for name in names})
    there, filler, run = small_disk / layout.code, small_disk / "by someone else", Lanes.run

    def fill_up(lanes: Any, tick: Any) -> None:
        filler.write_bytes(bytes(35 * MB))
        run(lanes, tick)

    with monkeypatch.context() as patch:
        patch.setattr(Lanes, "run", fill_up)
        with pytest.raises(TransferError, match=r"No space left .*20\.\d MB .*, \d+\.\d MB are free") as caught:
            push(lines, code, layout.code)
    assert "df -h" in caught.value.hint
    assert not there.exists()
    with pytest.raises(TransferError, match="disk is too small"):
        push(lines, code, layout.code)
    filler.unlink()
    sent = push(lines, code, layout.code)
    assert tree(there) == tree(code)
    assert sent.reused_bytes > 5 * MB


@pytest.fixture
def nobody(connection: Any) -> Iterator[Path]:
    """The machine's user is none of note; gives his home, which he may use."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("to become another user takes root and setpriv(1)")
    home = Path(tempfile.mkdtemp(prefix="gpurun-test-"))
    home.chmod(0o755)
    (home / "gpurun").mkdir()
    for path in (home, home / "gpurun"):
        os.chown(path, 65534, 65534)
    original, connection.home = connection.open, home
    connection.environment |= {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = "setpriv --reuid 65534 --regid 65534 --clear-groups bash -c"
    connection.open = lambda shell: original(f"exec {command} {shlex.quote(shell)}")
    if connection.run("python3 -c 'import os; print(os.geteuid())'").stdout != b"65534\n":
        pytest.skip("the system's python3 is not for everybody")
    yield home
    connection.close()
    shutil.rmtree(home)


def test_modes_that_keep_their_owner_out_are_no_obstacle(
    code: Path, lines: Any, layout: RemoteLayout, nobody: Path
) -> None:
    there = nobody / layout.code
    fill(code, {"a": b"1", "d/b": b"2", "big": os.urandom(MIB), "big renamed": os.urandom(MIB), "kept": b"3"})
    for path in (code / "a", code / "d/b", code / "big", code / "big renamed"):
        path.chmod(0o444)
    (code / "d").chmod(0o555)
    push(lines, code, layout.code)
    for name in ("a", "d/b", "big"):
        (code / name).chmod(0o644)
        (code / name).write_bytes((code / name).read_bytes() + b"more")
        (code / name).chmod(0o400)
    (code / "big renamed").rename(code / "renamed")
    push(lines, code, layout.code)
    (code / "d").chmod(0o755)  # its owner is always let in
    assert tree(there) == tree(code)


def test_a_permission_that_lacks_is_told(code: Path, lines: Any, layout: RemoteLayout, nobody: Path) -> None:
    fill(code, {"a": b"1"})
    push(lines, code, RemoteLayout("other").code)
    (nobody / layout.home).mkdir()  # root's
    with pytest.raises(TransferError, match=r"on the machine: .*Permission denied"):
        push(lines, code, layout.code)
    assert not [*(nobody / layout.home).iterdir()]
    os.chown(nobody / layout.home, 65534, 65534)
    push(lines, code, layout.code)
    assert tree(nobody / layout.code) == tree(code)


def test_a_file_in_the_folder_s_place_is_told(code: Path, lines: Any, layout: RemoteLayout, there: Path) -> None:
    fill(code, {"a": b"1"})
    there.parent.parent.mkdir(parents=True)
    there.parent.write_text("a file where the run's folder should be")
    with pytest.raises(TransferError, match=r"on the machine: .*(Not a directory|File exists)"):
        push(lines, code, layout.code)
    assert there.parent.read_text().startswith("a file")


def test_under_a_running_job_nothing_changes(
    code: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, job: Any,
    eventually: Callable[[Callable[[], bool]], None],
) -> None:  # fmt: skip
    fill(code, {"train.py": b"print()"})
    push(lines, code, layout.code)
    remote_agent.start(connection, layout, job("exec sleep 100"))
    try:
        push(lines, code, layout.code)
        before = tree(there)
        fill(code, {"train.py": b"print('other')", "big": os.urandom(6 * MB)})
        with pytest.raises(TransferError, match="the job is running in the folder"):
            push(lines, code, layout.code)
        (code / "big").unlink()
        with pytest.raises(TransferError, match="the job is running in the folder"):
            push(lines, code, layout.code)
        assert tree(there) == before
    finally:
        remote_agent.signal(connection, layout, "KILL")
    eventually(lambda: remote_agent.report(connection, layout).state == "done")
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("size", [50, 6 * MB])
def test_two_uploads_at_once_end_as_one_of_them(
    tmp_path: Path, connection: Any, lines: Any, layout: RemoteLayout, there: Path, size: int
) -> None:
    """Of the same names and sizes."""
    trees = []
    for name, time_ns in (("one", 7), ("other", 9)):
        root = fill(tmp_path / name, {f"{n}": name[0].encode() * (size // 10) + os.urandom(size) for n in range(4)})
        root.joinpath("only in " + name).touch()
        for path in root.iterdir():
            os.utime(path, ns=(time_ns, time_ns))
        trees.append(root)
    second = type(lines)(type(connection)(home=connection.home, environment=connection.environment))
    expected = [tree(root) for root in trees]
    try:
        for _ in range(8):
            errors: list[RemoteError] = []

            def attempt(which: Any, root: Path, errors: list[RemoteError] = errors) -> None:
                try:
                    push(which, root, layout.code)
                except RemoteError as told:
                    errors.append(told)

            threads = [threading.Thread(target=attempt, args=pair) for pair in zip((lines, second), trees, strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert (tree(there) if there.exists() else {}) in ([{}, *expected] if len(errors) == 2 else expected)
            assert all(error.message.isprintable() for error in errors)
        push(lines, trees[0], layout.code)
        assert tree(there) == expected[0]
    finally:
        second.close()
        second.control.connection.close()
