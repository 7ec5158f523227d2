"""After any edits and any cuts the far side is what `rsync -a --delete` makes of the same folder."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from launcher.domain import TransferProgress
from launcher.errors import HostUnreachable
from launcher.sync import ignore, upload
from launcher.sync.far_folder import FarFolder
from launcher.sync.layout import RemoteLayout
from launcher.sync.memory import Memory
from launcher.sync.tree import scan

EXAMPLES, ROUNDS = 50, 10
"""500 cases in all: each is some edits and a push."""
EDGES = (16 << 10, 256 << 10, 1 << 20)
PARTS = (
    *(b"a", b"b", b"sub", b"x.py", b"-rf", b"--delete", b" ", b"a b ", b"'q\"", b"$(id)", b"*?[", b"new\nline", b"\\"),
    *(b"caf\xc3\xa9", b"cafe\xcc\x81", b"caf\xe9", b"\xff\xfe", b"\xe2\x80\xaetxt", b"\x1b[2J", b".hidden", b"..."),
    *(b"n" * 255, "ü".encode() * 127, b"a.gpurun-part", b".staging-code", b".pushed-code", b"nan", b"con"),
)


class Edits:
    """Random changes of a folder; every content has a time of its own, by which rsync tells it apart too."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = os.fsencode(root)
        self.chance = chance
        self.clock_ns = 1_600_000_000_000_000_000

    def some(self) -> None:
        kinds = [*[self.add] * 4, *[self.add_big, self.change] * 3, self.folder, self.link, self.hard_link, self.sparse]
        kinds += [self.remove, self.remove, self.rename, self.rename, self.mode, self.touch, self.copy, self.other_kind]
        for _ in range(self.chance.randint(0, 6)):
            self.chance.choice(kinds)()

    def paths(self, *kinds: str) -> list[bytes]:
        found = []
        for folder, _, _ in os.walk(self.root):
            for entry in os.scandir(folder):
                kind = "l" if entry.is_symlink() else "d" if entry.is_dir() else "f"
                if not kinds or kind in kinds:
                    found.append(entry.path)
        return sorted(found)

    def one(self, *kinds: str) -> bytes | None:
        found = self.paths(*kinds)
        return self.chance.choice(found) if found else None

    def fresh(self) -> bytes:
        """A path that nothing has yet, in a folder that is there."""
        for _ in range(100):
            path = self.chance.choice([self.root, *self.paths("d")]) + b"/" + self.chance.choice(PARTS)
            if not os.path.lexists(path) and len(path) < 2000:
                return path
        return self.root + b"/" + self.chance.randbytes(8).hex().encode()

    def write(self, path: bytes, content: bytes) -> None:
        # In place, so that the inode stays.
        with Path(os.fsdecode(path)).open("r+b" if os.path.exists(path) else "wb") as file:
            file.truncate(0)
            file.write(content)
        self.stamp(path)

    def stamp(self, path: bytes) -> None:
        self.clock_ns += self.chance.randint(1, 10**10)
        os.utime(path, ns=(self.clock_ns, self.clock_ns))

    def content(self, size: int) -> bytes:
        if self.chance.random() < 0.5:
            return self.chance.randbytes(size)
        if self.chance.random() < 0.3:
            return bytes(size)
        return (b"%d," % self.chance.getrandbits(40) * (size // 2 + 1))[:size]

    def edge(self) -> int:
        return max(0, self.chance.choice(EDGES) * self.chance.randint(1, 2) + self.chance.randint(-1, 1))

    def add(self) -> None:
        self.write(self.fresh(), self.content(self.chance.choice([0, 1, 10, 5000])))

    def add_big(self) -> None:
        if sum(os.path.getsize(path) for path in self.paths("f")) < 8 << 20:
            self.write(self.fresh(), self.content(self.edge()))

    def folder(self) -> None:
        path = self.fresh()
        os.mkdir(path)
        os.chmod(path, 0o700 | self.chance.getrandbits(6))

    def link(self) -> None:
        target = self.chance.choice([*PARTS[:6], b"sub/a", b"not there"])
        os.symlink(target, self.fresh())

    def hard_link(self) -> None:
        path = self.one("f")
        if path:
            os.link(path, self.fresh())

    def sparse(self) -> None:
        path = self.fresh()
        with Path(os.fsdecode(path)).open("wb") as file:
            file.truncate(self.edge() + (1 << 20))
            file.seek(self.chance.randrange(1 << 20))
            file.write(b"data")
        self.stamp(path)

    def remove(self) -> None:
        path = self.one()
        if path and os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif path:
            os.unlink(path)

    def rename(self) -> None:
        path, to = self.one(), self.fresh()
        if path and not to.startswith(path + b"/"):
            os.rename(path, to)

    def mode(self) -> None:
        path = self.one("f", "d")
        if path:
            os.chmod(path, 0o700 | self.chance.getrandbits(6) if os.path.isdir(path) else self.file_mode())

    def file_mode(self) -> int:
        return 0o600 | self.chance.getrandbits(9)

    def touch(self) -> None:
        path = self.one("f")
        if path:
            self.stamp(path)

    def copy(self) -> None:
        path, to = self.one("f"), self.fresh()
        if path:
            shutil.copyfile(path, to)
            self.stamp(to)

    def other_kind(self) -> None:
        path = self.one()
        if not path:
            return
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        make = self.chance.choice(["file", "folder", "link"])
        if make == "file":
            self.write(path, self.content(100))
        elif make == "link":
            os.symlink(self.chance.choice(PARTS[:6]), path)
        else:
            os.mkdir(path)
            self.write(path + b"/inside", b"now a folder")

    def change(self) -> None:
        """In place, at the end, at the front, or cut short."""
        path = max(self.paths("f"), key=os.path.getsize, default=None) if self.chance.random() < 0.7 else self.one("f")
        if not path:
            return
        old = Path(os.fsdecode(path)).read_bytes()
        at = self.chance.choice([0, len(old), self.chance.randint(0, len(old)), min(len(old), self.edge())])
        part = self.chance.randbytes(self.chance.choice([1, 5, 100, 20_000]))
        new = self.chance.choice([old[:at] + part + old[at + len(part) :], old[:at] + part + old[at:], old[:at]])
        self.write(path, new)


class Fragile:
    """Cuts streams of a connection when so many bytes have gone over them, in whichever direction."""

    def __init__(self, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fuses: list[int] = []
        self.commit_delays_s: list[float] = []
        self.connection = connection
        self.lock = threading.Lock()
        original = connection.open
        monkeypatch.setattr(connection, "open", lambda command: self.tapped(original(command)))
        answered = FarFolder.commit
        monkeypatch.setattr(FarFolder, "commit", lambda folder: self.committing(answered, folder))

    def tapped(self, stream: Any) -> Any:
        write, read = stream.write, stream.read

        def tapped_write(data: bytes) -> None:
            passing = self.passing(len(data))
            if passing is not None:
                with contextlib.suppress(HostUnreachable):
                    write(data[:passing])
                stream.cut()
                raise HostUnreachable("cut by the test")
            write(data)

        def tapped_read(size: int) -> bytes:
            data: bytes = read(size)
            if self.passing(len(data)) is not None:
                stream.cut()
                raise HostUnreachable("cut by the test")
            return data

        stream.write, stream.read = tapped_write, tapped_read
        return stream

    def passing(self, size: int) -> int | None:
        """How many of these bytes still pass before the cut; `None`: all, and there is none."""
        with self.lock:
            if not self.fuses:
                return None
            self.fuses[0] -= size
            return size + self.fuses.pop(0) if self.fuses[0] < 0 else None

    def committing(self, answered: Callable[[FarFolder], None], folder: FarFolder) -> None:
        """Kill the agent at some time while it commits."""
        stream: Any = folder.wire.stream
        timer = threading.Timer(self.commit_delays_s.pop(), stream.cut) if self.commit_delays_s else None
        if timer:
            timer.start()
        try:
            answered(folder)
        finally:
            if timer:
                timer.join()


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


def snapshot(root: Path) -> dict[bytes, tuple[object, ...]]:
    """All that must be the same; the times of folders and links need not."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for folder, _, _ in os.walk(top):
        for entry in os.scandir(folder):
            info = entry.stat(follow_symlinks=False)
            mode = stat.S_IMODE(info.st_mode)
            if entry.is_symlink():
                line: tuple[object, ...] = ("link", os.readlink(entry.path))
            elif entry.is_dir():
                line = ("folder", mode)
            else:
                line = ("file", mode, info.st_size, info.st_mtime_ns, Path(os.fsdecode(entry.path)).read_bytes())
            found[entry.path[len(top) + 1 :]] = line
    return found


def rsync(root: Path, model: Path) -> None:
    subprocess.run(["rsync", "-a", "--delete", f"{root}/", f"{model}/"], check=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: it is a thousand trees."""
    above = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    made = Path(subprocess.check_output(["mktemp", "-d", "-p", above], text=True).strip())
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync on this machine, which tells what is right")
@pytest.mark.timeout(300)
def test_the_far_side_is_what_rsync_makes_of_it(
    folder: Path, connection: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.home = folder / "home ü"
    connection.home.mkdir()
    connection.environment["HOME"] = str(connection.home)
    fragile = Fragile(connection, monkeypatch)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    @given(st.integers(0, 2**64))
    def mirrored(seed: int) -> None:
        mirror(seed, folder, connection, lines, fragile)

    mirrored()


def mirror(seed: int, folder: Path, connection: Any, lines: Any, fragile: Fragile) -> None:
    """Some rounds of edits and cuts, in one folder."""
    chance = random.Random(seed)
    root, model, remote = folder / "here", folder / "model", RemoteLayout(f"r-{seed:x}").code
    for path in (root, model):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    edits = Edits(root, chance)
    memory = Memory(chance.choice([None, folder / "memory"]))
    for number in range(ROUNDS):
        edits.some()
        fragile.fuses = [int(10 ** chance.uniform(1, 6)) for _ in range(chance.choice([0, 0, 0, 1, 1, 3]))]
        fragile.commit_delays_s = [chance.uniform(0, 0.003) for _ in range(chance.choice([0, 0, 1]))]
        for _ in range(60):
            try:
                upload.push(lines, scan(root, ignore=ignore.nothing()), remote, silent, "code", memory=memory)
            except HostUnreachable:
                if chance.random() < 0.3:
                    edits.some()
            else:
                break
        else:
            raise AssertionError("it never came through")
        rsync(root, model)
        assert snapshot(connection.home / remote) == snapshot(model), f"seed {seed}, round {number}"
        fragile.fuses = []
        again = upload.push(lines, scan(root, ignore=ignore.nothing()), remote, silent, "code", memory=memory)
        assert (again.sent_bytes, again.files) == (0, 0)
    shutil.rmtree(connection.home / RemoteLayout(f"r-{seed:x}").home)
    for process in [stream for stream in connection.streams if not stream.alive()]:
        process.output.close()
        connection.streams.remove(process)
