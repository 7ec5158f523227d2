"""Real SSH servers on loopback, with keys of their own, gone after each test."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from launcher.domain import Endpoint, HostKey
from launcher.sync.ssh.keys import generate, host_key_of, write_private


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """For what another process does and tells nobody of."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for another process to have done something."""
    return wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    """An OpenSSH server on 127.0.0.1 that admits one key of its own for the present user, in a home of its own."""

    folder: Path
    home: Path
    port: int
    host_key: HostKey
    key: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def authorized_keys(self) -> Path:
        return self.folder / "authorized_keys"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def endpoint(self, **changes: object) -> Endpoint:
        values: dict[str, object] = {
            "address": "127.0.0.1",
            "user": self.user,
            "port": self.port,
            "host_keys": (self.host_key,),
            "key_file": self.key,
            "config_file": self.folder / "no_config",
        }
        return Endpoint(**{**values, **changes})  # type: ignore[arg-type]

    def start(self, *, wait: bool = True) -> None:
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert program
        self.process = subprocess.Popen(
            [program, "-D", "-f", str(self.folder / "config"), "-E", str(self.folder / "log")]
        )
        if wait:
            wait_until(self._listens)

    def _listens(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log
        return "Server listening" in self.log

    def processes(self) -> list[psutil.Process]:
        """The server and what it started."""
        if self.process is None:
            return []
        try:
            server = psutil.Process(self.process.pid)
            return [server, *server.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> None:
        """All of it, at once, with no farewell."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if self.process is not None:
            self.process.wait()
            self.process = None


CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
LogLevel DEBUG1
SetEnv {environment}
{more}
"""


@pytest.fixture
def make_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Servers on request, not started yet."""
    if shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("no OpenSSH server on this machine")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    made: list[Sshd] = []

    def make(more: str = "", **environment: str) -> Sshd:
        folder = tmp_path / f"sshd{len(made)}"
        folder.mkdir()
        # Without the user's own start-up files, which may be slow or say something; commands still begin in his home.
        environment = {"HOME": str(folder / "home"), "AWS_EC2_METADATA_DISABLED": "true", **environment}
        home = Path(environment["HOME"])
        home.mkdir(exist_ok=True)
        setting = " ".join(f"{name}={value}" for name, value in environment.items())
        host, user, port = generate("host"), generate("user"), free_port()
        write_private(folder / "host_key", host.private_pem)
        write_private(folder / "key", user.private_pem)
        (folder / "authorized_keys").write_text(user.public_line + "\n")
        (folder / "no_config").write_text("")
        (folder / "log").write_text("")
        config = CONFIG.format(port=port, folder=folder, environment=setting, more=more)
        (folder / "config").write_text(config)
        host_key = host_key_of(host.public_line)
        sshd = Sshd(folder=folder, home=home, port=port, host_key=host_key, key=folder / "key")
        made.append(sshd)
        return sshd

    yield make
    for sshd in made:
        sshd.stop()


@pytest.fixture
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    """One server, listening."""
    server = make_sshd()
    server.start()
    return server


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[Path]:
    """A real, empty agent's socket."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent on this machine")
    # A socket's path may not exceed 107 bytes, which tmp_path can.
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    path = folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        wait_until(path.exists)
        yield path
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
