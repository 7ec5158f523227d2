"""The first process of a namespace host: makes its world, boots it, hands the daemon its sockets, ends it.

It talks to the daemon over one inherited SOCK_SEQPACKET socket, JSON messages, descriptors beside them (unix(7)).
Received: the host's configuration, then `{"do": "socket"}`. Sent: `born` with a pidfd of the host's first process,
`up` with the listeners of the metadata service and of the control plane's port, `ssh` once port 22 listens,
`socket` with a fresh TCP socket of the host's network, `ending` with the reason, `error` with a message.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from . import cloudinit, linux, power, rootfs

METADATA_ADDRESS = "169.254.169.254"
MESSAGE_BYTES = 1 << 20
NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC


def main() -> None:
    """Read the configuration from the descriptor that argv names, and become a host."""
    # Python ignores SIGPIPE for itself; the guest's programs must not inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)
    config = json.loads(control.recv(MESSAGE_BYTES))
    try:
        _unshare(rootless=config["rootless"])
    except OSError as error:
        _fail(control, error)
    child = os.fork()
    if child:
        _wait(control, child)
    linux.die_with_parent(signal.SIGKILL)
    try:
        listeners = _build(config)
    except OSError as error:
        _fail(control, error)
    _send(control, {"event": "up"}, [listener.fileno() for listener in listeners])
    for listener in listeners:
        listener.close()
    if config["probe"]:
        os._exit(_probe())
    _fork_boot(control, config)
    _reign(control)


def _unshare(*, rootless: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(NAMESPACES | (linux.CLONE_NEWUSER if rootless else 0))
    if rootless:
        linux.map_ids(inner=0, outer_uid=uid, outer_gid=gid)


def _wait(control: socket.socket, child: int) -> NoReturn:
    """The laptop's side of the fork: reaps the host, so that its end is seen to be whole."""
    _send(control, {"event": "born"}, [os.pidfd_open(child)])
    control.close()
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


def _send(control: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    socket.send_fds(control, [json.dumps(message).encode()], descriptors or [])


def _fail(control: socket.socket, error: OSError) -> NoReturn:
    _send(control, {"event": "error", "message": str(error)})
    os._exit(1)


def _probe() -> int:
    """Whether the default user can run the environment's Python in this world."""
    child = os.fork()
    if not child:
        become_ubuntu()
        python = "/opt/gpurun/bin/python"
        os.execv(python if Path(python).exists() else f"{python}3", ["python", "-c", "import json"])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become_ubuntu() -> None:
    """Be the default user: by setuid where we are root, by a nested user namespace where we only look like it."""
    if _rootless():
        linux.unshare(linux.CLONE_NEWUSER)
        linux.map_ids(inner=rootfs.UBUNTU_ID, outer_uid=0, outer_gid=0)
        return
    os.setgroups([])
    os.setgid(rootfs.UBUNTU_ID)
    os.setuid(rootfs.UBUNTU_ID)


def _rootless() -> bool:
    return Path("/proc/self/uid_map").read_text().split()[2] == "1"


def _fork_boot(control: socket.socket, config: dict[str, Any]) -> None:
    if os.fork():
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    places = cloudinit.Places(
        metadata_address=METADATA_ADDRESS,
        metadata_port=80,
        root=Path("/"),
        home=Path("/home/ubuntu"),
        ssh=Path("/etc/ssh"),
        state=Path("/var/lib/cloud"),
        site_packages=tuple(config["site_packages"]),
        owner=None if config["rootless"] else (rootfs.UBUNTU_ID, rootfs.UBUNTU_ID),
    )
    time.sleep(config["boot_delay_s"])
    try:
        cloudinit.boot(places, lambda: _start_ssh(control, config))
    except OSError as error:
        cloudinit.say(f"gave up: {error}")
    os._exit(0)


def _start_ssh(control: socket.socket, config: dict[str, Any]) -> None:
    key = Path("/etc/ssh/ssh_host_ed25519_key")
    if not key.exists():
        os.spawnlp(os.P_WAIT, "ssh-keygen", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    if os.fork():
        _await_port_22()
        _send(control, {"event": "ssh"})
        return
    os.setsid()
    if _rootless():
        become_ubuntu()
    os.execv(config["sshd"], [config["sshd"], "-D", "-e", "-f", "/etc/ssh/sshd_config"])


def _await_port_22() -> None:
    while not any(_listens_on_22(table) for table in ("/proc/net/tcp", "/proc/net/tcp6")):
        time.sleep(0.005)


def _listens_on_22(table: str) -> bool:
    """Whether proc(5)'s table of this network's sockets has port 22 (hex 0016) in LISTEN (0A)."""
    path = Path(table)
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return any(row.split()[1].endswith(":0016") and row.split()[3] == "0A" for row in rows)


def _reign(control: socket.socket) -> NoReturn:
    """Reap orphans, obey the daemon and the power pipe, until the end; with us everything here dies."""
    pipe = os.open(rootfs.POWER_PIPE, os.O_RDWR | os.O_NONBLOCK)
    wake_in, wake_out = os.pipe()
    os.set_blocking(wake_out, False)
    signal.set_wakeup_fd(wake_out)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    poll = select.poll()
    for descriptor in (control.fileno(), pipe, wake_in):
        poll.register(descriptor, select.POLLIN)
    pending: power.PowerOrder | None = None
    while True:
        _reap()
        if pending and pending.at_s <= time.time():
            _end(control, pending.action)
        timeout_ms = None if pending is None else max(0.0, pending.at_s - time.time()) * 1000 + 1
        for descriptor, _ in poll.poll(timeout_ms):
            if descriptor == control.fileno():
                _answer(control)
            elif descriptor == pipe:
                pending = _read_orders(pipe, pending)
            else:
                os.read(wake_in, 4096)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _answer(control: socket.socket) -> None:
    message = control.recv(MESSAGE_BYTES)
    if not message:
        os._exit(0)
    with socket.socket() as fresh:
        _send(control, {"event": "socket"}, [fresh.fileno()])


def _read_orders(pipe: int, pending: power.PowerOrder | None) -> power.PowerOrder | None:
    for line in os.read(pipe, 65536).decode(errors="replace").splitlines():
        order = power.parse_order(line, now_s=time.time())
        if order:
            pending = None if order.action == power.CANCEL else order
    return pending


def _end(control: socket.socket, action: str) -> NoReturn:
    cloudinit.say(f"{action} requested")
    _send(control, {"event": "ending", "how": action})
    os._exit(0)
