"""A namespace host's `sudo`: its mounts know no set-uid programs, so a process of its root runs the command instead.

The caller hands its open files, folder, environment and command over a Unix socket, and gets the exit status. Nobody is
asked for a password, as on EC2's images. The command's root is that of the host, with what a container's root may do.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

ADDRESS = "/run/sandbox/sudo"
LONGEST_BYTES = 1 << 20
WITH_VALUE = frozenset({"-C", "-D", "-g", "-h", "-p", "-r", "-t", "-u"})
NOTHING_TO_DO = frozenset({"-v", "-k", "-K", "--version"})


def script(python: str, code: str) -> str:
    """The program `sudo`."""
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from guest.sudo import main; main()"
    return f'#!/bin/sh\nexec {shlex.join([python, "-IS", "-c", start, code])} "$@"\n'


def main() -> NoReturn:
    """Ask for what the arguments say, and end as it does."""
    user, assigned, words = parse(sys.argv[1:])
    if not words:
        sys.exit(0)
    environment = {**os.environ, **assigned}
    if user not in {"root", "#0"}:
        os.execvpe(words[0], words, environment)  # noqa: S606 - a shell is not wanted
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(ADDRESS)
        order = {"words": words, "environment": environment, "folder": str(Path.cwd()), "umask": _umask()}
        data = json.dumps(order).encode() + b"\n"
        sent = socket.send_fds(line, [data], [0, 1, 2])
        line.sendall(data[sent:])
        answer = b"".join(iter(lambda: line.recv(64), b""))
    sys.exit(int(answer or b"255"))


def parse(arguments: list[str]) -> tuple[str, dict[str, str], list[str]]:
    """(user, variables, command) of sudo(8)'s arguments."""
    user, assigned, words, shell = "root", dict[str, str](), list(arguments), False
    while words:
        word = words.pop(0)
        if word in NOTHING_TO_DO:
            return user, assigned, []
        if word in WITH_VALUE and words:
            value = words.pop(0)
            user = value if word == "-u" else user
        elif word in {"-i", "-s"}:
            shell = True
        elif word == "--":
            break
        elif not word.startswith("-") and "=" in word:
            name, _, assigned[name] = word.partition("=")
        elif not word.startswith("-"):
            words.insert(0, word)
            break
    return user, assigned, words or (["/bin/sh"] if shell else [])


def serve() -> None:
    """Run what is asked for from now on, in a process beside the caller's; called by the host's root."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(ADDRESS)
    Path(ADDRESS).chmod(0o666)
    listener.listen(128)
    if os.fork():
        listener.close()
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who answer are reaped by the kernel
    while True:
        line, _ = listener.accept()
        if os.fork():
            line.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _answer(line)


def _answer(line: socket.socket) -> NoReturn:
    """Run one command; it ends when its caller does."""
    try:
        order, descriptors = _receive(line)
        child = os.fork()
        if not child:
            line.close()
            _become(order, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        ended = os.pidfd_open(child)
        ready, _, _ = select.select([line.fileno(), ended], [], [])
        if ended not in ready:
            os.killpg(child, signal.SIGTERM)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        line.sendall(str(status if status >= 0 else 128 - status).encode())
    except (OSError, ValueError):
        pass  # the caller is gone
    os._exit(0)


def _receive(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors, _, _ = socket.recv_fds(line, LONGEST_BYTES, 3)
    while not data.endswith(b"\n"):
        more = line.recv(LONGEST_BYTES)
        if not more:
            raise ValueError("the order is not whole")
        data += more
    return json.loads(data), descriptors


def _become(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    words, environment = order["words"], order["environment"]
    try:
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.umask(order["umask"])
        os.chdir(order["folder"])
        own = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SUDO_USER": environment.get("USER", "ubuntu")}
        program = shutil.which(words[0]) or words[0]
        os.execvpe(program, words, {**environment, **own})  # noqa: S606 - a shell is not wanted
    except (OSError, ValueError) as error:
        os.write(2, f"sudo: {words[0]}: {error}\n".encode())
    os._exit(1)


def _umask() -> int:
    present = os.umask(0o022)
    os.umask(present)
    return present
