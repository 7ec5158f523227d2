"""Hosts in Linux namespaces of their own: their own network, processes, files and users (namespaces(7))."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from launcher.errors import GpurunError
from launcher.sandbox.hosts import clock, guestcode
from launcher.sandbox.hosts.control import Control, spawn
from launcher.sandbox.hosts.door import SSH_PORT
from launcher.sandbox.hosts.host import SandboxHost
from launcher.sandbox.hosts.image import HostImage, read_image
from launcher.sandbox.hosts.relay import Wire
from launcher.sandbox.hosts.switchboard import Switchboard
from launcher.sandbox.machine import Machine

MEMORY_DISK_MIB = 2048
PROBE_WAIT_S = 30.0


class NamespaceDriver:
    """Makes hosts of Linux namespaces, as root or in unprivileged user namespaces."""

    kind = "namespaces"
    warning = ""

    def __init__(self, state: Path, *, rootless: bool | None = None) -> None:
        """Try a whole world once; raises `GpurunError` with the reason where this laptop does not let us.

        `rootless` says whether in a user namespace; `None`: without where we are root and may.
        """
        self._image = read_image()
        self._code = guestcode.keep(state)
        ways = [False, True] if os.geteuid() == 0 else [True]
        self._rootless = _probe(self._image, self._code, state, ways if rootless is None else [rootless])
        self._clocks = state / "clocks"
        self._switchboard = Switchboard()
        self._hosts: dict[str, SandboxHost] = {}

    def boot(self, machine: Machine) -> SandboxHost:
        """Start a host; raises `GpurunError` when it cannot."""
        body = NamespaceBody(machine, self._image, self._code, self._clocks, rootless=self._rootless)
        host = SandboxHost(machine, body, self._switchboard, Wire())
        self._hosts[machine.instance_id] = host
        host.start()
        return host

    def close(self) -> None:
        """Release every host."""
        for host in self._hosts.values():
            host.release()
        self._switchboard.close()


class NamespaceBody:
    """The processes of one host: all that descend from its first process, and die with it."""

    def __init__(self, machine: Machine, image: HostImage, code: Path, clocks: Path, *, rootless: bool) -> None:
        self._machine = machine
        self._code = code
        self._config = _config(
            image,
            code,
            folder=str(machine.folder),
            hostname=machine.hostname,
            private_address=machine.private_address,
            public_address=machine.public_address,
            cloud_port=machine.cloud_port,
            boot_delay_s=machine.boot_delay_s,
            content=str(machine.content or ""),
            disk_bytes=machine.disk_bytes,
            clock_library=str(clock.library(clocks, machine.clock_ahead_s)) if machine.clock_ahead_s else "",
            rootless=rootless,
            probe=False,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._pidfd = -1

    def rise(self) -> dict[str, socket.socket]:
        """Start the first process and wait until its world stands."""
        console = self._machine.folder / "console"
        self._process, self._control = spawn(
            "init", code=self._code, mark=str(self._machine.folder), config=self._config, console=console
        )
        while True:
            event, descriptors = self._control.receive()
            if event.get("event") == "born":
                self._pidfd = descriptors[0]
            elif event.get("event") == "up":
                metadata, cloud = (socket.socket(fileno=descriptor) for descriptor in descriptors)
                return {"metadata": metadata, "cloud": cloud}
            else:
                raise _cannot_start(event, console)

    def next_event(self) -> dict[str, Any]:
        """What the first process says next."""
        return self._control.receive()[0] if self._control else {}

    def open_ssh(self) -> None:
        """Nothing: the host's own first process saw its server listen."""

    def dial(self) -> socket.socket:
        """Connect to port 22 in the host's network, through a socket that was made there."""
        if self._control is None:
            raise ConnectionError("the host is not up")
        far = self._control.fresh_socket()
        try:
            far.connect((self._machine.private_address, SSH_PORT))
        except OSError:
            far.close()
            raise
        return far

    def fill(self, leave_bytes: int | None) -> None:
        """Change the size of the file system that its disk is, live; raises `GpurunError`."""
        if not self._machine.disk_bytes:
            raise GpurunError(
                f"the disk of {self._machine.instance_id} is this computer's, which is not filled",
                hint="gpurun sandbox set disk_bytes=2GiB, before a machine is launched, gives it one of its own",
            )
        if self._control is None:
            raise GpurunError("the host is not up", hint="gpurun sandbox status")
        answer = self._control.ask({"do": "fill", "leave_bytes": leave_bytes, "disk_bytes": self._machine.disk_bytes})
        if answer.get("error"):
            raise GpurunError(f"the disk could not be filled: {answer['error']}", hint="gpurun sandbox status")

    def check_disk(self) -> None:
        """Refuse where it lies in memory, which the first process takes with it."""
        if self._machine.disk_bytes:
            raise GpurunError(
                f"the disk of {self._machine.instance_id} lies in memory, and no image can be made of it",
                hint="gpurun sandbox set disk_bytes=0, before a machine is launched",
            )

    def fall(self) -> None:
        """Kill the first process: the kernel kills all of its namespace before it lets go (pid_namespaces(7))."""
        if self._process is None:
            return
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1
        elif self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        """Close the socket to the first process."""
        if self._control:
            self._control.close()


def _config(image: HostImage, code: Path, **own: Any) -> dict[str, Any]:
    return {
        **own,
        "environment": image.environment,
        "site_packages": image.site_packages,
        "hidden": image.hidden,
        "sshd": image.sshd,
        "sshd_options": image.sshd_options,
        "guest_code": str(code),
        "python": sys.executable,
        "guest_variables": {},
        "memory_disk_mib": MEMORY_DISK_MIB,
    }


def _probe(image: HostImage, code: Path, state: Path, ways: list[bool]) -> bool:
    """The first of `ways`, with a user namespace or without, in which a world stands and runs Python.

    Raises `GpurunError` with the last one's reason.
    """
    if sys.platform != "linux":
        raise _cannot_start({"message": "namespaces are Linux's"}, state)
    for rootless in ways[:-1]:
        with contextlib.suppress(GpurunError):
            _try_world(image, code, state, rootless=rootless)
            return rootless
    _try_world(image, code, state, rootless=ways[-1])
    return ways[-1]


def _try_world(image: HostImage, code: Path, state: Path, *, rootless: bool) -> None:
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=state) as folder:
        config = _config(
            image,
            code,
            folder=folder,
            hostname="probe",
            private_address="10.0.0.1",
            public_address="",
            cloud_port=1,
            boot_delay_s=0.0,
            content="",
            disk_bytes=0,
            clock_library="",
            rootless=rootless,
            probe=True,
        )
        console = Path(folder, "console")
        process, control = spawn("init", code=code, mark=folder, config=config, console=console)
        event, descriptors = control.receive()
        while event.get("event") in {"born", "up"}:
            for descriptor in descriptors:
                os.close(descriptor)
            event, descriptors = control.receive()
        status = process.wait(PROBE_WAIT_S)
        control.close()
        if status:
            raise _cannot_start(event, console)


def _cannot_start(event: dict[str, Any], console: Path) -> GpurunError:
    said = console.read_text(errors="replace").strip()[-500:] if console.is_file() else ""
    reason = event.get("message") or said or "its first process died"
    return GpurunError(
        f"this machine does not let a namespace host start: {reason}",
        hint="gpurun sandbox start --hosts loopback",
    )
