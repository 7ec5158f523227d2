"""The first process of a loopback host: its cloud-init, its power pipe, and its end when the daemon dies."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from . import cloudinit, marked
from .messages import Messages
from .reign import fork_boot, make_pipe, reign


def main() -> None:
    """Read the configuration from the descriptor that argv names, and become a host."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    line = socket.socket(fileno=int(sys.argv[2]))
    line.set_inheritable(False)
    messages = Messages(line)
    config, _ = messages.receive()
    folder = Path(config["folder"])
    mark = os.environ[marked.MARK]
    os.environ.update(config["guest_variables"])
    os.chdir(config["home"])
    places = cloudinit.Places(
        metadata_address="127.0.0.1",
        metadata_port=config["metadata_port"],
        root=folder / "disk",
        home=Path(config["home"]),
        ssh=folder / "disk/etc/ssh",
        state=folder / "disk/var/lib/cloud",
        site_packages=tuple(config["site_packages"]),
        owner=None,
    )
    make_pipe(Path(config["power_pipe"]))
    messages.send({"event": "up"})
    fork_boot(places, config["boot_delay_s"], lambda: messages.send({"event": "ssh"}))
    reign(messages, Path(config["power_pipe"]))
    sys.path.extend(config["site_packages"])
    marked.kill_marked(lambda found: found == mark)
    os._exit(0)
