"""A control plane that is data alone, real SSH clients, and hosts of every kind that this machine can make."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launcher.errors import GpurunError
from launcher.sandbox import hosts
from launcher.sandbox.hosts.namespaces import NamespaceDriver
from launcher.sandbox.machine import Driver, Ending, Host, Machine, MetadataAnswer

WAIT_S = 20.0


def until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(0.02)


def running(command: str) -> bool:
    return subprocess.run(["pgrep", "-f", f"^{command}"], capture_output=True, check=False).returncode == 0


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


@dataclass
class Booted:
    """A machine, its host, and clients that reach it as a user would."""

    machine: Machine
    host: Host
    endings: queue.SimpleQueue[Ending]
    key: Path
    known_hosts: Path
    client: list[str] = field(default_factory=list)

    @property
    def options(self) -> list[str]:
        options = {
            "HostName": "127.0.0.1",
            "HostKeyAlias": self.machine.instance_id,
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "User": "ubuntu",
        }
        port = ["-o", f"Port={self.host.ssh_port}"]
        return ["-F", "none", *port, *itertools.chain(*(["-o", f"{k}={v}"] for k, v in options.items()))]

    def ssh(
        self, command: str, *, stdin: bytes = b"", more: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        argv = ["ssh", *self.options, *more, "host", command]
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False)

    def out(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def wait(self) -> Booted:
        until(lambda: self.ssh("true").returncode == 0, f"ssh; console: {self.host.console().decode()}")
        return self

    def finished(self) -> Booted:
        until(lambda: b"finished" in self.host.console(), "the end of cloud-init")
        return self

    def rsh(self) -> str:
        return shlex.join(["ssh", *self.options])


@dataclass
class Bench:
    """Boots machines on one driver with a metadata service of the test's."""

    kind: str
    driver: Driver
    state: Path
    admitted: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)
    until: Callable[[Callable[[], object], str], None] = staticmethod(until)
    make_key: Callable[[Path], Path] = staticmethod(make_key)
    running: Callable[[str], bool] = staticmethod(running)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def boot(
        self,
        config: dict[str, object] | None = None,
        *,
        user_data: bytes | None = None,
        delay_s: float = 0.0,
        cloud_port: int = 1,
        with_key: bool = True,
        **more: object,
    ) -> Booted:
        number = next(self._numbers)
        name = f"i-{number:017x}"
        keys = self.state.parent / f"keys-{name}"
        keys.mkdir()
        user, host_key = make_key(keys / "user"), make_key(keys / "host")
        (keys / "known_hosts").write_text(f"{name} {host_key.with_suffix('.pub').read_text()}")
        secrets = {
            "ed25519_private": host_key.read_text(),
            "ed25519_public": host_key.with_suffix(".pub").read_text(),
        }
        cloud_config = b"#cloud-config\n" + json.dumps({"ssh_keys": secrets, **(config or {})}).encode()
        data = cloud_config if user_data is None else user_data
        endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        public = user.with_suffix(".pub").read_text() if with_key else ""
        machine = Machine(
            instance_id=name,
            hostname=f"ip-10-0-0-{number}",
            private_address=f"10.0.0.{number}",
            public_address=f"198.18.0.{number}",
            user_data=data,
            authorized_key=public or None,
            boot_delay_s=delay_s,
            folder=self.state / "hosts" / name,
            cloud_port=cloud_port,
            metadata=metadata_of(name, data, public),
            admits=self._admits,
            ended=endings.put,
            **more,  # type: ignore[arg-type]
        )
        return self.again(Booted(machine, None, endings, user, keys / "known_hosts"))  # type: ignore[arg-type]

    @property
    def place(self) -> str:
        """A folder that cloud-init's commands and the user both know, in a shell's words."""
        return "$HOME" if self.kind == "loopback" else "/tmp"

    def again(self, booted: Booted) -> Booted:
        booted.host = self.driver.boot(booted.machine)
        return booted

    def _admits(self, peer: str, port: int) -> bool:
        self.asked.append((peer, port))
        return self.admitted


def metadata_of(name: str, user_data: bytes, key: str) -> Callable[[str, str, dict[str, str]], MetadataAnswer]:
    known = {
        "/latest/user-data": user_data,
        "/latest/meta-data/public-keys/0/openssh-key": key.encode(),
        "/latest/meta-data/instance-id": name.encode(),
    }

    def answer(method: str, path: str, headers: dict[str, str]) -> MetadataAnswer:
        if method == "PUT" and path == "/latest/api/token":
            return MetadataAnswer(status=200, body=b"token")
        if headers.get("x-aws-ec2-metadata-token") != "token":
            return MetadataAnswer(status=401, body=b"")
        return MetadataAnswer(status=200 if path in known else 404, body=known.get(path, b""))

    return answer


def make_driver(kind: str, state: Path) -> Driver:
    try:
        if kind == "rootless":
            if os.geteuid():
                pytest.skip("without root, the namespaces are rootless already")
            return NamespaceDriver(state, rootless=True)
        return hosts.choose(kind, state)
    except GpurunError as error:
        pytest.skip(error.message)


@contextlib.contextmanager
def bench_of(kind: str, scratch: Path) -> Iterator[Bench]:
    if not shutil.which("ssh"):
        pytest.skip("no ssh client")
    state = scratch / "state"
    driver = make_driver(kind, state)
    try:
        yield Bench(kind, driver, state)
    finally:
        driver.close()
    assert not list((state / "hosts").glob("*"))
    assert str(scratch) not in Path("/proc/mounts").read_text() if sys.platform == "linux" else True
    assert not marked_processes(state)


def marked_processes(state: Path) -> list[str]:
    """Command lines of the processes that say they belong to a host of `state`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"GPURUN_SANDBOX_HOST={state}/".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
    return found


def make_scratch() -> tempfile.TemporaryDirectory[str]:
    """Short and traversable for every user, unlike tmp_path."""
    return tempfile.TemporaryDirectory(prefix="gpurun-hosts-")


@pytest.fixture
def scratch() -> Iterator[Path]:
    with make_scratch() as folder:
        yield Path(folder).resolve()


@pytest.fixture
def bench_in() -> Callable[[str, Path], contextlib.AbstractContextManager[Bench]]:
    """For a test that has to prepare something before the driver is made."""
    return bench_of


@pytest.fixture(params=["namespaces", "loopback"])
def bench(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Bench]:
    """Hosts of the two kinds, for tests that end them."""
    with bench_of(request.param, scratch) as made:
        yield made


@pytest.fixture(params=["namespaces", "rootless", "loopback"])
def every_bench(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Bench]:
    """Also as an unprivileged user has them."""
    with bench_of(request.param, scratch) as made:
        yield made


@pytest.fixture(scope="module", params=["namespaces", "loopback"])
def shared_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """One driver for a module's tests."""
    with make_scratch() as folder, bench_of(request.param, Path(folder).resolve()) as made:
        yield made


@pytest.fixture(scope="module")
def booted(shared_bench: Bench) -> Booted:
    """One host for a module's tests, which do not end it."""
    return shared_bench.boot().wait()


@pytest.fixture(scope="module")
def loopback() -> Iterator[Bench]:
    """Hosts that do not hide it."""
    with make_scratch() as folder, bench_of("loopback", Path(folder).resolve()) as made:
        yield made


@pytest.fixture(scope="module", params=["namespaces", "rootless"])
def isolating(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Hosts that hide the laptop."""
    with make_scratch() as folder, bench_of(request.param, Path(folder).resolve()) as made:
        yield made


@pytest.fixture
def banner() -> Callable[[int, float], bytes]:
    """What a port says first within some seconds; empty when it is silent."""

    def read(port: int, within_s: float) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 5) as line:
            line.settimeout(within_s)
            try:
                return line.recv(4)
            except TimeoutError:
                return b""

    return read


@pytest.fixture
def fast_daemon_death(scratch: Path) -> Callable[[str], tuple[subprocess.Popen[bytes], Path]]:
    """Starts a daemon of one booted host in a process of its own, and returns it and its state folder."""

    def start(kind: str) -> tuple[subprocess.Popen[bytes], Path]:
        state = scratch / "daemon-state"
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "tiny_daemon.py"), kind, str(state)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return process, state

    return start
