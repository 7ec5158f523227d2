"""Hosts without any privilege: ordinary processes of the user behind an SSH server in pure Python.

They boot, take commands and die as the others do, but they share the laptop's files, network and users: a job can
read and change whatever the user can.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from launcher.errors import GpurunError
from launcher.sandbox.hosts import guestcode
from launcher.sandbox.hosts.control import Control, spawn
from launcher.sandbox.hosts.guest import power
from launcher.sandbox.hosts.guest.marked import MARK, kill_marked
from launcher.sandbox.hosts.host import SandboxHost
from launcher.sandbox.hosts.relay import Wire
from launcher.sandbox.hosts.servers import Servers
from launcher.sandbox.hosts.switchboard import Switchboard
from launcher.sandbox.machine import Machine

WARNING = (
    "loopback hosts do not isolate: a job can read and change the files of this computer that you can, "
    "so run only what you would run yourself"
)

# What must not reach the laptop's own service manager: a host's deadline would switch off the laptop.
REFUSED = '#!/bin/sh\necho "${0##*/}: not on a sandbox host" >&2\nexit 1\n'
REFUSED_NAMES = ("systemd-run", "loginctl", "telinit", "init", "at", "pmset")
SETSID = '#!/bin/sh\n# macOS has no setsid(1).\nexec "$@"\n'


class LoopbackDriver:
    """Makes hosts of ordinary processes, on any POSIX system."""

    kind = "loopback"

    def __init__(self, state: Path, *, because: str = "") -> None:
        self.warning = f"{WARNING} ({because})" if because else WARNING
        state.mkdir(parents=True, exist_ok=True)
        self._switchboard = Switchboard()
        self._code = guestcode.keep(state)
        self._servers = Servers(state, self._code)
        self._hosts: dict[str, SandboxHost] = {}

    def boot(self, machine: Machine) -> SandboxHost:
        """Start a host; raises `GpurunError` when it cannot."""
        wire = Wire()
        host = SandboxHost(machine, LoopbackBody(machine, self._servers, self._code), self._switchboard, wire)
        self._hosts[machine.instance_id] = host
        host.start()
        return host

    def close(self) -> None:
        """Release every host."""
        for host in self._hosts.values():
            host.release()
        self._servers.close()
        self._switchboard.close()


class LoopbackBody:
    """The processes of one host: all that carry its mark."""

    def __init__(self, machine: Machine, servers: Servers, code: Path) -> None:
        self._machine = machine
        self._servers = servers
        self._code = code
        self._home = machine.folder / "disk/home/ubuntu"
        self._shims = machine.folder / "shims"
        self._pipe = machine.folder / "initctl"
        self._address = ("127.0.0.1", 0)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None

    def rise(self) -> dict[str, socket.socket]:
        """Make its folder and start its first process."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._write_shims()
        metadata = socket.socket()
        metadata.bind(("127.0.0.1", 0))
        metadata.listen(128)
        config = {
            "folder": str(self._machine.folder),
            "home": str(self._home),
            "metadata_port": metadata.getsockname()[1],
            "boot_delay_s": self._machine.boot_delay_s,
            "power_pipe": str(self._pipe),
            "site_packages": _site_packages(),
            "guest_variables": self._variables(metadata.getsockname()[1]),
        }
        self._environment = config["guest_variables"]
        # A login shell reads /etc/profile, which sets another PATH: without the shims, with the laptop's shutdown.
        for name in (".profile", ".zprofile"):
            if not (self._home / name).exists():
                (self._home / name).write_text(f"export PATH={shlex.quote(self._environment['PATH'])}\n")
        self._process, self._control = spawn(
            "plain", code=self._code, mark=self._mark, config=config, console=self._machine.folder / "console"
        )
        if self._control.receive()[0].get("event") != "up":
            metadata.close()
            raise GpurunError("the host's first process died", hint=f"read {self._machine.folder / 'console'}")
        return {"metadata": metadata}

    def next_event(self) -> dict[str, Any]:
        """What the first process says next."""
        return self._control.receive()[0] if self._control else {}

    def open_ssh(self) -> None:
        """Start its SSH server; cloud-init has put the keys in place."""
        key = self._machine.folder / "disk/etc/ssh/ssh_host_ed25519_key"
        port = self._servers.serve(
            self._machine.instance_id,
            {
                "address": "127.0.0.1",
                "port": 0,
                "home": str(self._home),
                "shown_home": "/home/ubuntu",
                "authorized_keys": str(self._home / ".ssh/authorized_keys"),
                "environment": {**self._environment, MARK: self._mark},
            },
            key.read_text() if key.exists() else "",
        )
        self._address = ("127.0.0.1", port)

    def dial(self) -> socket.socket:
        """Connect to its SSH server."""
        return socket.create_connection(self._address)

    def fill(self, leave_bytes: int | None) -> None:  # noqa: ARG002 - the protocol's
        """Never: its disk is the laptop's."""
        raise GpurunError(
            "a loopback host writes to this computer's own disk, which is not filled",
            hint="gpurun sandbox start --hosts namespaces",
        )

    def check_disk(self) -> None:
        """Refuse: what is installed there is installed on the laptop."""
        raise GpurunError(
            "a loopback host has no disk of its own: an image of it would be one of this computer",
            hint="gpurun sandbox start --hosts namespaces",
        )

    def fall(self) -> None:
        """Kill the first process and all that carries the mark, double forks included."""
        if self._process is None:
            return
        self._servers.stop(self._machine.instance_id)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        kill_marked(lambda mark: mark == self._mark)
        self._process = None

    def hang_up(self) -> None:
        """Close the socket to the first process."""
        if self._control:
            self._control.close()

    @property
    def _mark(self) -> str:
        return str(self._machine.folder)

    def _variables(self, metadata_port: int) -> dict[str, str]:
        folders = [str(self._shims), str(Path(sys.prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
        return {
            "PATH": ":".join([*folders, "/usr/local/sbin", "/usr/sbin", "/sbin"]),
            "HOME": str(self._home),
            "USER": "ubuntu",
            "LOGNAME": "ubuntu",
            "SHELL": shutil.which("bash") or "/bin/sh",
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "TMPDIR": self._temporary(),
            "STATE_DIRECTORY": str(self._machine.folder / "disk/var/lib/gpurun"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{metadata_port}",
        }

    def _temporary(self) -> str:
        folder = self._machine.folder / "disk/tmp"
        folder.mkdir(exist_ok=True)
        return str(folder)

    def _write_shims(self) -> None:
        self._shims.mkdir(exist_ok=True)
        scripts = {**power.shims(str(self._pipe)), **dict.fromkeys(REFUSED_NAMES, REFUSED)}
        if not shutil.which("setsid"):
            scripts["setsid"] = SETSID
        for name, script in scripts.items():
            (self._shims / name).write_text(script)
            (self._shims / name).chmod(0o755)


def _site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
