"""The first process of a namespace host: makes its world, boots it, hands the daemon its sockets, ends it.

It talks to the daemon over one inherited Unix socket (`messages`). Received: the host's configuration, then
`{"do": "socket"}`. Sent: `born` with a pidfd of the host's first process, `up` with the listeners of the metadata
service and of the control plane's port, `ssh` once port 22 listens, `socket` with a fresh TCP socket of the host's
network, `ending` with the reason, `error` with a message.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from . import cloudinit, linux, rootfs, sshd, sudo
from .messages import Messages
from .reign import fork_boot, reign

METADATA_ADDRESS = "169.254.169.254"
NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC


def main() -> None:
    """Read the configuration from the descriptor that argv names, and become a host."""
    # Python ignores SIGPIPE for itself; the guest's programs must not inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[2]))
    line.set_inheritable(False)
    messages = Messages(line)
    config, _ = messages.receive()
    try:
        _unshare(rootless=config["rootless"])
    except OSError as error:
        _fail(messages, error)
    child = os.fork()
    if child:
        _wait(messages, child)
    linux.die_with_parent(signal.SIGKILL)
    try:
        listeners = _build(config)
    except OSError as error:
        _fail(messages, error)
    messages.send({"event": "up"}, [listener.fileno() for listener in listeners])
    for listener in listeners:
        listener.close()
    if config["probe"]:
        os._exit(_probe())
    sudo.serve()
    fork_boot(_places(config), config["boot_delay_s"], lambda: sshd.start(messages, config))
    reign(messages, Path(rootfs.POWER_PIPE))
    os._exit(0)


def _unshare(*, rootless: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(NAMESPACES | (linux.CLONE_NEWUSER if rootless else 0))
    if rootless:
        linux.map_ids(inner=0, outer_uid=uid, outer_gid=gid)


def _wait(messages: Messages, child: int) -> NoReturn:
    """The laptop's side of the fork: reaps the host, so that its end is seen to be whole."""
    messages.send({"event": "born"}, [os.pidfd_open(child)])
    messages.close()
    _, status = os.waitpid(child, 0)
    os._exit(abs(os.waitstatus_to_exitcode(status)) & 0xFF)


def _build(config: dict[str, Any]) -> list[socket.socket]:
    socket.sethostname(config["hostname"])
    own = {config["private_address"], config["public_address"]} - {""}
    linux.raise_loopback([METADATA_ADDRESS, *sorted(own)])
    # An SSH server that is not root, in a nested user namespace or in pure Python, must bind port 22 too.
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    listeners = [_listen(METADATA_ADDRESS, 80), _listen("127.0.0.1", config["cloud_port"])]
    rootfs.build(config)
    linux.limit_capabilities()
    os.environ.clear()
    os.environ.update(config["guest_variables"], PATH=rootfs.PATH, HOME="/root", LANG="C.UTF-8")
    os.umask(0o022)
    return listeners


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(128)
    return listener


def _fail(messages: Messages, error: OSError) -> NoReturn:
    messages.send({"event": "error", "message": str(error)})
    os._exit(1)


def _places(config: dict[str, Any]) -> cloudinit.Places:
    return cloudinit.Places(
        metadata_address=METADATA_ADDRESS,
        metadata_port=80,
        root=Path("/"),
        home=Path("/home/ubuntu"),
        ssh=Path("/etc/ssh"),
        state=Path("/var/lib/cloud"),
        site_packages=tuple(config["site_packages"]),
        owner=None if config["rootless"] else (rootfs.UBUNTU_ID, rootfs.UBUNTU_ID),
    )


def _probe() -> int:
    """Whether the default user can run the environment's Python in this world."""
    child = os.fork()
    if not child:
        try:
            sshd.become_ubuntu()
            os.execv(rootfs.python(), ["python", "-I", "-c", "import json"])  # noqa: S606 - a shell is not wanted
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
