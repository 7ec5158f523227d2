"""The lines that are measured on: plain loopback, and shaped ones between two network namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sync_bench.processes import DIES_WITH_US, leave

HERE = Path(__file__).parent
NAMESPACES = Path("/run/netns")
PREFIX = "gpurun-bench"
DEVICE = "bench0"
START_S = 10.0
SUBNET, NEAR, FAR = "10.77.0.0/30", "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a line is like; without a rate it is plain loopback."""

    name: str
    title: str
    rate_bit_per_s: float = 0.0
    round_trip_ms: float = 0.0
    loss_percent: float = 0.0
    queue_ms: float = 0.0

    def needs_s(self, size_bytes: int) -> float | None:
        """Seconds that so many bytes take at the line's rate, without any framing."""
        return size_bytes * 8 / self.rate_bit_per_s if self.rate_bit_per_s else None


LINKS = {
    link.name: link
    for link in (
        Link(name="lo", title="loopback"),
        Link(name="wan", title="1 Gbit/s, 40 ms", rate_bit_per_s=1e9, round_trip_ms=40, queue_ms=40),
        Link(name="dsl", title="100 Mbit/s, 10 ms", rate_bit_per_s=1e8, round_trip_ms=10, queue_ms=50),
        Link(
            name="wanl",
            title="1 Gbit/s, 40 ms, 1 % loss",
            rate_bit_per_s=1e9,
            round_trip_ms=40,
            loss_percent=1,
            queue_ms=40,
        ),
        Link(
            name="dsll",
            title="100 Mbit/s, 10 ms, 1 % loss",
            rate_bit_per_s=1e8,
            round_trip_ms=10,
            loss_percent=1,
            queue_ms=50,
        ),
    )
}

TCP = {
    "net.ipv4.tcp_rmem": "4096 131072 6291456",
    "net.ipv4.tcp_wmem": "4096 16384 4194304",
}
"""Linux's own defaults, whatever this machine was tuned to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where the two sides of a line live; an empty namespace is the machine's own."""

    link: Link
    address: str
    near: str = ""
    far: str = ""

    @property
    def into_near(self) -> list[str]:
        """The words before a command that make it run on the near side."""
        return _into(self.near)

    @property
    def into_far(self) -> list[str]:
        """The words before a command that make it run on the far side."""
        return _into(self.far)

    def near_bytes(self) -> tuple[int, int]:
        """What the near side has sent and received over the line so far, headers included."""
        device = DEVICE if self.near != self.far else "lo"
        told = subprocess.run([*self.into_near, "cat", "/proc/net/dev"], capture_output=True, text=True, check=True)
        for line in told.stdout.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == device:
                found = numbers.split()
                return int(found[8]), int(found[0])
        raise RuntimeError(f"no {device} in {told.stdout}")


def build(folder: Path) -> Path:
    """The link emulator, compiled."""
    program = folder / "link"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "link.c"], check=True)
    return program


@contextmanager
def plain_loopback() -> Iterator[Ends]:
    """The machine's own loopback, as it is: all that can be had without root."""
    yield Ends(link=LINKS["lo"], address="127.0.0.1")


@contextmanager
def loopback(congestion: str) -> Iterator[Ends]:
    """A loopback of its own, in a namespace with Linux's default TCP settings."""
    name = f"{PREFIX}-{os.getpid()}-lo"
    with _namespace(name):
        route = ("local", "127.0.0.1", "dev", "lo", "table", "local")
        _ip("-n", name, "route", "replace", *route, "src", "127.0.0.1", "congctl", congestion)
        yield Ends(link=LINKS["lo"], address="127.0.0.1", near=name, far=name)


@contextmanager
def shaped(link: Link, emulator: Path, congestion: tuple[str, str]) -> Iterator[Ends]:
    """The line between two namespaces of its own; `congestion`: TCP's algorithm on the near and on the far side."""
    near, far = (f"{PREFIX}-{os.getpid()}-{link.name}-{side}" for side in ("near", "far"))
    with ExitStack() as stack:
        stack.enter_context(_namespace(near))
        stack.enter_context(_namespace(far))
        stack.enter_context(_emulated(link, emulator, near, far))
        for name, address, algorithm in ((near, NEAR, congestion[0]), (far, FAR, congestion[1])):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", DEVICE)
            _ip("-n", name, "link", "set", DEVICE, "mtu", "1500", "txqueuelen", "5000", "up")
            # A namespace may not choose among all algorithms by sysctl; its routes may.
            _ip("-n", name, "route", "replace", SUBNET, "dev", DEVICE, "src", address, "congctl", algorithm)
        yield Ends(link=link, address=FAR, near=near, far=far)


def sweep(scratch: Path) -> None:
    """Remove what a killed run of ours has left behind: namespaces, and folders in `scratch`."""
    for path in [*NAMESPACES.glob(f"{PREFIX}-*"), *scratch.glob(f"{PREFIX}-*")]:
        owner = path.name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if Path("/proc", owner).exists():
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            _ip("netns", "delete", path.name)


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        subprocess.run(
            [*_into(name), "sysctl", "-q", "-w", *(f"{key}={value}" for key, value in TCP.items())], check=True
        )
        yield
    finally:
        _ip("netns", "delete", name)


@contextmanager
def _emulated(link: Link, emulator: Path, near: str, far: str) -> Iterator[None]:
    # A burst that is lost as a whole would not be 1 % loss: only a line without loss carries bursts.
    bursts = link.rate_bit_per_s >= 1e9 and not link.loss_percent
    numbers = (link.rate_bit_per_s / 1e6, link.round_trip_ms / 2, link.loss_percent, link.queue_ms)
    words = [*DIES_WITH_US, str(emulator), near, far, DEVICE, *map(str, numbers), str(int(bursts))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the emulator of {link.name} did not start")
            yield
        finally:
            leave(process, START_S)


def _into(namespace: str) -> list[str]:
    return ["nsenter", f"--net={NAMESPACES / namespace}"] if namespace else []


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
