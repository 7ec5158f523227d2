"""One sandbox host as the control plane holds it: its life, its door, its wire, its metadata, its console."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from launcher.errors import GpurunError
from launcher.sandbox.hosts.body import Body
from launcher.sandbox.hosts.copying import copy_tree
from launcher.sandbox.hosts.door import Door
from launcher.sandbox.hosts.metadata import answer_requests
from launcher.sandbox.hosts.relay import Wire
from launcher.sandbox.hosts.sweeping import remove_folder
from launcher.sandbox.hosts.switchboard import Switchboard
from launcher.sandbox.machine import Ending, Machine

CONSOLE_BYTES = 64 * 1024


class SandboxHost:
    """A booted machine; `body` is its processes, of whatever kind."""

    def __init__(self, machine: Machine, body: Body, switchboard: Switchboard, wire: Wire) -> None:
        self._machine = machine
        self._body = body
        self._switchboard = switchboard
        self._wire = wire
        self._listeners: list[socket.socket] = []
        self._expected = threading.Event()
        self._lock = threading.Lock()
        self._down = False
        self._door = Door(switchboard=switchboard, wire=wire, admits=machine.admits, dial=body.dial)

    @property
    def ssh_port(self) -> int:
        """The port on the laptop's 127.0.0.1."""
        return self._door.port

    def start(self) -> None:
        """Start its processes; raises `GpurunError` when they do not start, with nothing left."""
        self._machine.folder.mkdir(parents=True, exist_ok=True)
        try:
            listeners = self._body.rise()
        except GpurunError:
            self.release()
            self._body.hang_up()
            raise
        self._listeners = list(listeners.values())
        self._switchboard.answer(
            listeners["metadata"], lambda line, peer: answer_requests(line, peer, self._machine.metadata)
        )
        if "cloud" in listeners:
            self._switchboard.answer(listeners["cloud"], self._relay_to_cloud)
        threading.Thread(target=self._follow, name=f"sandbox-{self._machine.instance_id}", daemon=True).start()

    def kill(self) -> None:
        """Sudden death: its processes are gone when this returns."""
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

    def strand(self) -> None:
        """Leave the laptop's present connections in the air."""
        self._wire.strand()

    def fill(self, leave_bytes: int | None) -> None:
        """Leave that much room on its disk, or all of it again (`None`); raises `GpurunError` where it cannot."""
        self._body.fill(leave_bytes)

    def check_disk(self) -> None:
        """Raise `GpurunError` where its disk cannot be saved, with the reason."""
        self._body.check_disk()

    def save_disk(self, place: Path) -> None:
        """Put all that its disk holds into a new folder; raises `GpurunError`. Whole only while it is down."""
        self.check_disk()
        copy_tree(self._machine.folder / "disk", place)

    def console(self) -> bytes:
        """The last 64 KiB of its console, as EC2 keeps them."""
        with contextlib.suppress(FileNotFoundError), (self._machine.folder / "console").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - CONSOLE_BYTES))
            return file.read()
        return b""

    def _relay_to_cloud(self, line: socket.socket, _peer: str) -> None:
        self._wire.hold(line)
        with contextlib.suppress(OSError):
            self._wire.wait_whole()
            self._wire.join(line, socket.create_connection(("127.0.0.1", self._machine.cloud_port)), laptop=False)
        self._wire.drop(line)

    def _follow(self) -> None:
        """Hear the first process until its end, and tell of an end that nobody asked for."""
        ending = Ending.DIED
        while event := self._body.next_event():
            if event["event"] == "ssh":
                self._open()
            elif event["event"] == "ending":
                ending = Ending(event["how"])
        self._stop()
        self._body.hang_up()
        if not self._expected.is_set():
            self._expected.set()
            self._machine.ended(ending)

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            self._body.open_ssh()
            self._door.open()

    def _stop(self) -> None:
        """Every process gone, every socket closed; whoever comes first does it, all wait for it."""
        with self._lock:
            if self._down:
                return
            self._down = True
            self._body.fall()
            self._wire.close()
            for listener in self._listeners:
                self._switchboard.hang_up(listener)
            self._listeners.clear()
            self._door.close()
