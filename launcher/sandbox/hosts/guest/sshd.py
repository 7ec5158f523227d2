"""Starts a namespace host's SSH server: the laptop's OpenSSH, or ours in pure Python where it has none."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, NoReturn

from . import linux, rootfs
from .messages import Messages

START = "import sys; sys.path.append(sys.argv[1]); from guest.sshserver import main; main()"
HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key")


def start(messages: Messages, config: dict[str, Any]) -> None:
    """Start it beside this process, wait until it listens, and say so to the daemon."""
    if not HOST_KEY.exists() and shutil.which("ssh-keygen"):
        os.spawnlp(os.P_WAIT, "ssh-keygen", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(HOST_KEY))  # noqa: S606 - a shell is not wanted
    if not os.fork():
        os.setsid()
        if config["sshd"]:
            _become_openssh(config["sshd"])
        _become_ours(config)
    _await_port_22()
    messages.send({"event": "ssh"})


def _become_openssh(sshd: str) -> NoReturn:
    if rootless():
        become_ubuntu()
    os.execv(sshd, [sshd, "-D", "-e", "-f", "/etc/ssh/sshd_config"])  # noqa: S606 - a shell is not wanted


def _become_ours(config: dict[str, Any]) -> NoReturn:
    # The server is not root; it gets the host key as its standard input, which nobody else can read.
    key = os.open(HOST_KEY if HOST_KEY.exists() else "/dev/null", os.O_RDONLY)
    os.dup2(key, 0)
    become_ubuntu()
    own = {
        "port": 22,
        "home": "/home/ubuntu",
        "shown_home": "/home/ubuntu",
        "authorized_keys": "/home/ubuntu/.ssh/authorized_keys",
        "environment": {**config["guest_variables"], "PATH": rootfs.PATH, "LANG": "C.UTF-8"},
    }
    os.execv(rootfs.python(), ["python", "-I", "-c", START, str(Path(rootfs.GUEST_CODE).parent), json.dumps(own)])  # noqa: S606 - a shell is not wanted


def become_ubuntu() -> None:
    """Be the default user: by setuid where we are root, by a nested user namespace where we only look like it."""
    if rootless():
        linux.unshare(linux.CLONE_NEWUSER)
        linux.map_ids(inner=rootfs.UBUNTU_ID, outer_uid=0, outer_gid=0)
        return
    os.setgroups([])
    os.setgid(rootfs.UBUNTU_ID)
    os.setuid(rootfs.UBUNTU_ID)


def rootless() -> bool:
    """Whether root in here is one ordinary user outside."""
    return Path("/proc/self/uid_map").read_text().split()[2] == "1"


def _await_port_22() -> None:
    while not any(_listens_on_22(table) for table in ("/proc/net/tcp", "/proc/net/tcp6")):
        time.sleep(0.005)


def _listens_on_22(table: str) -> bool:
    """Whether proc(5)'s table of this network's sockets has port 22 (hex 0016) in LISTEN (0A)."""
    path = Path(table)
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return any(row.split()[1].endswith(":0016") and row.split()[3] == "0A" for row in rows)
