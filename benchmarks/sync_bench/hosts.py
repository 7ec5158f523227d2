"""The far side: an OpenSSH server with keys and a home of its own, and what a client needs to reach it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sync_bench.links import Ends
from sync_bench.processes import DIES_WITH_US, end_below, leave

SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")
START_S = 10.0
PORT = 2222
SHELL_FILES = (".bashrc", ".zshenv")

SERVER = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp {sftp}
SetEnv HOME={home}
"""

CLIENT = """\
Host far
  HostName {address}
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  HostKeyAlias far
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One far side, up."""

    ends: Ends
    folder: Path
    port: int
    user: str
    server_pid: int
    """All that the far side does is this process or below it."""
    master_pid: int
    """Of the client that keeps a connection open for others, as ControlMaster does."""

    @property
    def ssh_config(self) -> Path:
        """For ssh -F; the host is called `far`."""
        return self.folder / "ssh_config"

    @property
    def control_path(self) -> Path:
        """The ControlMaster's socket."""
        return self.folder / "master"

    @property
    def home(self) -> Path:
        """The far side's HOME."""
        return self.folder / "home"

    def endpoint(self) -> dict[str, object]:
        """What `launcher.domain.Endpoint` wants, as JSON."""
        return {
            "address": self.ends.address,
            "port": self.port,
            "user": self.user,
            "host_key": (self.folder / "host_key.pub").read_text().split()[:2],
            "key_file": str(self.folder / "key"),
            "config_file": str(self.folder / "no_config"),
        }

    def forget(self) -> None:
        """Empty the far side's home: what an earlier transfer may have remembered there.

        gpurun's agent stays: a run has put it there before it carries anything.
        """
        own = self.home / "gpurun"
        for path in [*self.home.iterdir(), *own.glob("*")]:
            if path == own or path.name in SHELL_FILES or path.name.startswith("agent-"):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def host(ends: Ends, folder: Path) -> Iterator[Host]:
    """Start sshd at the far end and a ControlMaster at the near one."""
    folder.mkdir(parents=True)
    (folder / "home").mkdir()
    port = PORT if ends.far else _free_port()
    _write_files(ends, folder, port)
    with _server(ends, folder) as server, _master(ends, folder) as master:
        yield Host(
            ends=ends,
            folder=folder,
            port=port,
            user=getpass.getuser(),
            server_pid=server.pid,
            master_pid=master.pid,
        )


def _write_files(ends: Ends, folder: Path, port: int) -> None:
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", folder / name], check=True)
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    sftp = next((path for path in SFTP_SERVERS if Path(path).exists()), "internal-sftp")
    words = {
        "address": ends.address,
        "port": port,
        "folder": folder,
        "sftp": sftp,
        "home": folder / "home",
        "user": getpass.getuser(),
    }
    (folder / "sshd_config").write_text(SERVER.format(**words))
    (folder / "ssh_config").write_text(CLIENT.format(**words))
    (folder / "no_config").write_text("")
    if not ends.far:
        # sshd starts commands in the user's real home, and no private /etc/passwd can be had: the shell leaves it.
        for name in SHELL_FILES:
            (folder / "home" / name).write_text("cd\n")
    (folder / "known_hosts").write_text("far " + (folder / "host_key.pub").read_text())
    # Root's home is a folder here, whatever asks: a private copy of /etc/passwd says so on the far side.
    rows = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    told = [[*row[:5], str(folder / "home"), *row[6:]] if row[0] == getpass.getuser() else row for row in rows]
    (folder / "passwd").write_text("".join(":".join(row) + "\n" for row in told))


@contextmanager
def _server(ends: Ends, folder: Path) -> Iterator[subprocess.Popen]:
    program = shutil.which("sshd", path=SEARCH)
    if program is None:
        raise RuntimeError("no sshd on this machine")
    command = [program, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")]
    if ends.far:
        # Mounts and process numbers of its own: nothing of the machine's is written to, and nothing outlives it.
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
        mounts = f"mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && mount --bind {folder}/passwd /etc/passwd"
        command = [*ends.into_far, *apart, f'{mounts} && exec "$@"', "sshd", *command]
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(
            [*DIES_WITH_US, *command], stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
        ) as server,
    ):
        try:
            _wait_until(lambda: "Server listening" in (folder / "log").read_text(), server, folder)
            yield server
        finally:
            end_below(server) if ends.far else server.kill()
            server.wait()


@contextmanager
def _master(ends: Ends, folder: Path) -> Iterator[subprocess.Popen]:
    command = ["ssh", "-F", str(folder / "ssh_config"), "-M", "-N", "-S", str(folder / "master"), "far"]
    with subprocess.Popen(
        [*DIES_WITH_US, *ends.into_near, *command], stdin=subprocess.DEVNULL, start_new_session=True
    ) as master:
        try:
            _wait_until((folder / "master").exists, master, folder)
            yield master
        finally:
            master.terminate()
            leave(master, START_S)


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} did not start: {(folder / 'log').read_text()[-400:]}")
        time.sleep(0.01)  # OpenSSH tells nobody when it is ready


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
