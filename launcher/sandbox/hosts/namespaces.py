"""Hosts in Linux namespaces of their own: their own network, processes, files and users (namespaces(7))."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from launcher.errors import GpurunError
from launcher.sandbox.hosts.control import Control
from launcher.sandbox.hosts.door import SSH_PORT, Door
from launcher.sandbox.hosts.image import HostImage, read_image
from launcher.sandbox.hosts.metadata import answer_requests
from launcher.sandbox.hosts.relay import Wire
from launcher.sandbox.hosts.sweeping import MARK, remove_folder
from launcher.sandbox.hosts.switchboard import Switchboard
from launcher.sandbox.machine import Ending, Machine

GUEST = Path(__file__).parent / "guest"
START = "import sys; sys.path.insert(0, sys.argv[1]); from guest.init import main; main()"
CONSOLE_BYTES = 64 * 1024
MEMORY_DISK_MIB = 2048


class NamespaceDriver:
    """Makes hosts of Linux namespaces, as root or in unprivileged user namespaces."""

    kind = "namespaces"
    warning = ""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._image = read_image()
        self._switchboard = Switchboard()
        self._hosts: list[NamespaceHost] = []

    def boot(self, machine: Machine) -> NamespaceHost:
        """Start a host; raises `GpurunError` when this laptop does not let it start."""
        host = NamespaceHost(machine, self._image, self._state, self._switchboard)
        self._hosts.append(host)
        host.start()
        return host

    def close(self) -> None:
        """Release every host."""
        for host in self._hosts:
            host.release()
        self._switchboard.close()


class NamespaceHost:
    """One host: a first process in namespaces, a door to its port 22, its metadata service."""

    def __init__(self, machine: Machine, image: HostImage, state: Path, switchboard: Switchboard) -> None:
        self._machine = machine
        self._image = image
        self._state = state
        self._switchboard = switchboard
        self._wire = Wire()
        self._listeners: list[socket.socket] = []
        self._expected = threading.Event()
        self._lock = threading.Lock()
        self._door = Door(switchboard=switchboard, wire=self._wire, admits=machine.admits, dial=self._dial)

    @property
    def ssh_port(self) -> int:
        """The port on the laptop's 127.0.0.1."""
        return self._door.port

    def start(self) -> None:
        """Start the first process and wait until its world stands."""
        self._machine.folder.mkdir(parents=True, exist_ok=True)
        self._process, self._control = spawn(self._machine.folder, self._state, self._config())
        self._pidfd = -1
        try:
            self._await_world()
        except GpurunError:
            self.release()
            raise
        threading.Thread(target=self._listen, name=f"sandbox-{self._machine.instance_id}", daemon=True).start()

    def kill(self) -> None:
        """Sudden death; returns when the kernel has reaped the last process."""
        self._expected.set()
        self._stop()

    def release(self) -> None:
        """Kill it and remove all that it left."""
        self.kill()
        with self._lock:
            remove_folder(self._machine.folder)

    def partition(self, *, cut: bool) -> None:
        """Cut or heal its network."""
        self._wire.cut(cut=cut)

    def console(self) -> bytes:
        """The last 64 KiB of its console, as EC2 keeps them."""
        with contextlib.suppress(FileNotFoundError), (self._machine.folder / "console").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - CONSOLE_BYTES))
            return file.read()
        return b""

    def _config(self) -> dict[str, Any]:
        return host_config(
            self._image,
            folder=self._machine.folder,
            hostname=self._machine.hostname,
            private_address=self._machine.private_address,
            public_address=self._machine.public_address,
            cloud_port=self._machine.cloud_port,
            boot_delay_s=self._machine.boot_delay_s,
            guest_variables={MARK: str(self._state)},
        )

    def _await_world(self) -> None:
        while True:
            event, descriptors = self._control.receive()
            match event.get("event"):
                case "born":
                    self._pidfd = descriptors[0]
                case "up":
                    self._serve(*[socket.socket(fileno=descriptor) for descriptor in descriptors])
                    return
                case _:
                    raise cannot_start(event, self.console())

    def _serve(self, metadata: socket.socket, cloud: socket.socket) -> None:
        self._listeners = [metadata, cloud]
        self._switchboard.answer(metadata, lambda line, peer: answer_requests(line, peer, self._machine.metadata))
        self._switchboard.answer(cloud, self._relay_to_cloud)

    def _relay_to_cloud(self, line: socket.socket, _peer: str) -> None:
        self._wire.hold(line)
        with contextlib.suppress(OSError):
            self._wire.wait_whole()
            self._wire.join(line, socket.create_connection(("127.0.0.1", self._machine.cloud_port)))
        self._wire.drop(line)

    def _dial(self) -> socket.socket:
        far = self._control.fresh_socket()
        try:
            far.connect((self._machine.private_address, SSH_PORT))
        except OSError:
            far.close()
            raise
        return far

    def _listen(self) -> None:
        """Follow the first process to its end."""
        ending = Ending.DIED
        while True:
            event, _ = self._control.receive()
            match event.get("event"):
                case "ssh":
                    self._door.open()
                case "ending":
                    ending = Ending(event["how"])
                case None:
                    break
        self._stop()
        if not self._expected.is_set():
            self._machine.ended(ending)

    def _stop(self) -> None:
        """Every process gone, every socket closed; whoever comes first does it, all wait for it."""
        with self._lock:
            if self._process.poll() is None and self._pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._process.wait()
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
            self._wire.close()
            for listener in self._listeners:
                self._switchboard.hang_up(listener)
            self._listeners.clear()
            self._door.close()


def spawn(folder: Path, state: Path, config: dict[str, Any]) -> tuple[subprocess.Popen[bytes], Control]:
    """Start a host's first process and give it its configuration."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    python = [sys.executable, "-I", "-S", "-c", START, str(GUEST.parent), str(theirs.fileno())]
    with theirs, (folder / "console").open("ab") as console:
        process = subprocess.Popen(
            python,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env={MARK: str(state)},
            cwd="/",
        )
    control = Control(ours)
    control.configure(config)
    return process, control


def host_config(image: HostImage, **own: Any) -> dict[str, Any]:
    """What `guest.init` must know."""
    return {
        **own,
        "folder": str(own["folder"]),
        "rootless": os.geteuid() != 0,
        "probe": own.get("probe", False),
        "environment": image.environment,
        "site_packages": image.site_packages,
        "hidden": image.hidden,
        "sshd": image.sshd,
        "sshd_options": image.sshd_options,
        "guest_code": str(GUEST),
        "memory_disk_mib": MEMORY_DISK_MIB,
    }


def cannot_start(event: dict[str, Any], console: bytes) -> GpurunError:
    """Why no host came up."""
    reason = event.get("message") or console.decode(errors="replace").strip()[-500:] or "its first process died"
    return GpurunError(
        f"this machine does not let a namespace host start: {reason}",
        hint="start the sandbox with `gpurun sandbox start --hosts loopback`",
    )
