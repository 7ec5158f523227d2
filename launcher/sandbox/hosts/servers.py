"""The one process that holds the SSH servers of all loopback hosts, apart from the daemon's own work."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from launcher.sandbox.hosts.guest.messages import Messages

START = "import sys; sys.path.append(sys.argv[1]); from guest.serverpool import main; main()"
STOP_WAIT_S = 5.0


class Servers:
    """Starts and stops SSH servers in the helper process, which ends with the daemon."""

    def __init__(self, state: Path, code: Path) -> None:
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-I", "-c", START, str(code.parent), str(theirs.fileno())]
        with theirs, (state / "ssh-servers.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )
        self._messages = Messages(ours)
        self._lock = threading.Lock()

    def serve(self, name: str, config: dict[str, Any], host_key: str) -> int:
        """Serve a host; returns the port on 127.0.0.1. Raises `OSError` when it cannot."""
        answer = self._ask({"do": "serve", "name": name, "config": config, "host_key": host_key})
        if "port" not in answer:
            raise OSError(answer.get("error", "the SSH servers' process is gone"))
        return int(answer["port"])

    def stop(self, name: str) -> None:
        """Stop serving a host and hang up on its callers; harmless when it is not served."""
        self._ask({"do": "stop", "name": name})

    def close(self) -> None:
        """End the process."""
        self._messages.close()
        try:
            self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                self._messages.send(message)
            except OSError:
                return {}
            return self._messages.receive()[0]
