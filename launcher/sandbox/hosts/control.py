"""The daemon's end of the socket to a host's first process, and how such a process is started."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from launcher.sandbox.hosts.guest.marked import MARK
from launcher.sandbox.hosts.guest.messages import Messages

ANSWER_WAIT_S = 10.0


class Control:
    """Reads what the host's first process says, in order, and asks it for sockets."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._lock = threading.Lock()
        self._sockets: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next event and the descriptors that came with it; an empty event once the process is gone."""
        while True:
            event, descriptors = self._messages.receive()
            if event.get("event") == "socket":
                self._sockets.put(socket.socket(fileno=descriptors[0]))
                continue
            if event.get("event") == "answer":
                self._answers.put(event)
                continue
            if not event:
                self._sockets.put(None)
                self._answers.put({"error": "the host is gone"})
            return event, descriptors

    def fresh_socket(self) -> socket.socket:
        """An unconnected TCP socket of the host's network; raises `OSError` when the host is gone."""
        with self._lock:
            self._messages.send({"do": "socket"})
            try:
                fresh = self._sockets.get(timeout=ANSWER_WAIT_S)
            except queue.Empty:
                fresh = None
        if fresh is None:
            raise ConnectionError("the host is gone")
        return fresh

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Have the first process do something; its answer, with an `error` where it could not."""
        with self._lock:
            try:
                self._messages.send(message)
                return self._answers.get(timeout=ANSWER_WAIT_S)
            except (OSError, queue.Empty):
                return {"error": "the host is gone"}

    def close(self) -> None:
        """Drop the socket."""
        self._messages.close()


def spawn(
    module: str, *, code: Path, mark: str, config: dict[str, Any], console: Path
) -> tuple[subprocess.Popen[bytes], Control]:
    """Start `guest.<module>` of a kept `code` without site-packages, and give it its configuration.

    It knows that the daemon is gone when its end of the socket says so.
    """
    ours, theirs = socket.socketpair()
    start = f"import sys; sys.path.insert(0, sys.argv[1]); from guest.{module} import main; main()"
    argv = [sys.executable, "-I", "-S", "-c", start, str(code.parent), str(theirs.fileno())]
    with theirs, console.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env={MARK: mark},
            cwd="/",
        )
    messages = Messages(ours)
    messages.send(config)
    return process, Control(messages)
