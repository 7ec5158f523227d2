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
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import scan
from launcher.sync.up import upload
from launcher.sync.up.far_folder import FarFolder

EXAMPLES, ROUNDS = 50, 10
"""500 cases in all: each is some edits and a push."""
EDGES = (16 << 10, 256 << 10, 1 << 20)
PARTS = tuple(
    os.fsdecode(part)
    for part in (
        *(b"a", b"b", b"sub", b"x.py", b"-rf", b"--delete", b" ", b"a b ", b"'q\"", b"$(id)", b"*?[", b"new\nline"),
        *(b"caf\xc3\xa9", b"cafe\xcc\x81", b"caf\xe9", b"\xff\xfe", b"\xe2\x80\xaetxt", b"\x1b[2J", b".hidden", b"..."),
        *(b"\\", b"n" * 255, "ü".encode() * 127, b"a.gpurun-part", b".staging-code", b".pushed-code", b"nan", b"con"),
    )
)


class Edits:
    """Random changes of a folder; every content has a time of its own, by which rsync tells it apart too."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.clock_ns = 1_600_000_000_000_000_000

    def some(self) -> None:
        kinds = [*[self.add] * 4, *[self.add_big, self.change] * 3, self.folder, self.link, self.hard_link, self.sparse]
        kinds += [self.remove, self.remove, self.rename, self.rename, self.mode, self.touch, self.copy, self.other_kind]
        for _ in range(self.chance.randint(0, 6)):
            self.chance.choice(kinds)()

    def paths(self, *kinds: str) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if not kinds or kind_of(path) in kinds)

    def one(self, *kinds: str) -> Path | None:
        found = self.paths(*kinds)
        return self.chance.choice(found) if found else None

    def fresh(self) -> Path:
        """A path that nothing has yet, in a folder that is there."""
        for _ in range(100):
            path = self.chance.choice([self.root, *self.paths("folder")]) / self.chance.choice(PARTS)
            if not os.path.lexists(path) and len(os.fsencode(path)) < 2000:
                return path
        return self.root / self.chance.randbytes(8).hex()

    def write(self, path: Path, content: bytes) -> None:
        # In place, so that the inode stays.
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(0)
            file.write(content)
        self.stamp(path)

    def stamp(self, path: Path) -> None:
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
        if sum(path.stat().st_size for path in self.paths("file")) < 8 << 20:
            self.write(self.fresh(), self.content(self.edge()))

    def folder(self) -> None:
        path = self.fresh()
        path.mkdir()
        path.chmod(0o700 | self.chance.getrandbits(6))

    def link(self) -> None:
        self.fresh().symlink_to(self.chance.choice([*PARTS[:6], "sub/a", "not there"]))

    def hard_link(self) -> None:
        path = self.one("file")
        if path:
            self.fresh().hardlink_to(path)

    def sparse(self) -> None:
        path = self.fresh()
        with path.open("wb") as file:
            file.truncate(self.edge() + (1 << 20))
            file.seek(self.chance.randrange(1 << 20))
            file.write(b"data")
        self.stamp(path)

    def remove(self) -> None:
        path = self.one()
        if path:
            remove(path)

    def rename(self) -> None:
        path, to = self.one(), self.fresh()
        if path and not to.is_relative_to(path):
            path.rename(to)

    def mode(self) -> None:
        path = self.one("file", "folder")
        if path:
            path.chmod((0o700 if path.is_dir() else 0o600) | self.chance.getrandbits(9))

    def touch(self) -> None:
        path = self.one("file")
        if path:
            self.stamp(path)

    def copy(self) -> None:
        path, to = self.one("file"), self.fresh()
        if path:
            shutil.copyfile(path, to)
            self.stamp(to)

    def other_kind(self) -> None:
        path = self.one()
        if not path:
            return
        remove(path)
        make = self.chance.choice(["file", "folder", "link"])
        if make == "file":
            self.write(path, self.content(100))
        elif make == "link":
            path.symlink_to(self.chance.choice(PARTS[:6]))
        else:
            path.mkdir()
            self.write(path / "inside", b"now a folder")

    def change(self) -> None:
        """In place, at the end, at the front, or cut short."""
        files = self.paths("file")
        if not files:
            return
        largest = max(files, key=lambda path: path.stat().st_size)
        path = largest if self.chance.random() < 0.7 else self.chance.choice(files)
        old = path.read_bytes()
        at = self.chance.choice([0, len(old), self.chance.randint(0, len(old)), min(len(old), self.edge())])
        part = self.chance.randbytes(self.chance.choice([1, 5, 100, 20_000]))
        new = self.chance.choice([old[:at] + part + old[at + len(part) :], old[:at] + part + old[at:], old[:at]])
        self.write(path, new)


def kind_of(path: Path) -> str:
    """A link is one, wherever it leads."""
    return "link" if path.is_symlink() else "folder" if path.is_dir() else "file"


def remove(path: Path) -> None:
    if kind_of(path) == "folder":
        shutil.rmtree(path)
    else:
        path.unlink()


class Fragile:
    """Cuts streams of a connection when so many bytes have gone over them, in whichever direction."""

    def __init__(self, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fuses: list[int] = []
        self.commit_delays_s: list[float] = []
        self.timers: list[threading.Timer] = []
        self.connection = connection
        self.lock = threading.Lock()
        original = connection.open
        monkeypatch.setattr(connection, "open", lambda command: self.tapped(original(command)))
        say = FarFolder.say
        monkeypatch.setattr(FarFolder, "say", lambda folder, what, **more: self.saying(say, folder, what, more))

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

    def saying(self, say: Callable[..., None], folder: FarFolder, what: str, more: dict[str, Any]) -> None:
        """Kill the agent at some time while it commits."""
        say(folder, what, **more)
        if what == "commit" and self.commit_delays_s:
            stream: Any = folder.wire.stream

            def kill() -> None:
                stream.cut()
                stream.process.wait()

            timer = threading.Timer(self.commit_delays_s.pop(), kill)
            self.timers.append(timer)
            timer.start()

    def settle(self) -> None:
        """Leave nothing for the next push."""
        while self.timers:
            self.timers.pop().join()


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """All that must be the same; the times of folders and links need not."""
    return {str(path.relative_to(root)): line_of(path) for path in root.rglob("*")}


def line_of(path: Path) -> tuple[object, ...]:
    if path.is_symlink():
        return "link", path.readlink()
    info = path.stat()
    if path.is_dir():
        return "folder", stat.S_IMODE(info.st_mode)
    return "file", stat.S_IMODE(info.st_mode), info.st_size, info.st_mtime_ns, path.read_bytes()


def rsync(root: Path, model: Path) -> subprocess.Popen[bytes]:
    """At work while we are."""
    # Of itself rsync looks at whole seconds alone.
    return subprocess.Popen(["rsync", "-a", "--modify-window=-1", "--delete", f"{root}/", f"{model}/"])


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: it is a thousand trees."""
    above = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    made = Path(subprocess.check_output(["mktemp", "-d", "-p", above], text=True).strip())
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync on this machine, which tells what is right")
@pytest.mark.slow
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
        fragile.commit_delays_s = [chance.uniform(0, 0.0015) for _ in range(chance.choice([0, 0, 1]))]
        peer = rsync(root, model)
        for _ in range(60):
            try:
                upload.push(lines, scan(root, ignore=ignore.nothing()), remote, silent, "code", memory=memory)
            except HostUnreachable:
                if chance.random() < 0.3:
                    assert peer.wait() == 0
                    edits.some()
                    peer = rsync(root, model)
            else:
                break
            finally:
                fragile.settle()
        else:
            raise AssertionError("it never came through")
        assert peer.wait() == 0
        assert snapshot(connection.home / remote) == snapshot(model), f"seed {seed}, round {number}"
        fragile.fuses = []
        again = upload.push(lines, scan(root, ignore=ignore.nothing()), remote, silent, "code", memory=memory)
        assert (again.sent_bytes, again.files) == (0, 0)
    shutil.rmtree(connection.home / RemoteLayout(f"r-{seed:x}").home)
    for process in [stream for stream in connection.streams if not stream.alive()]:
        process.output.close()
        connection.streams.remove(process)
