"""Files of the machine: names made safe, writing in one step, hashes."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING

from .wire import Json, Refusal, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COPY_BYTES = 1 << 20
"""What is read of a large file at once."""


HOME_VARIABLE = "GPURUN_AGENT_HOME"
"""Names another folder than the user's home to keep everything in; no job sees it."""


def at_home(path: str) -> str:
    """A path relative to our home made absolute."""
    return os.path.join(os.environ.get(HOME_VARIABLE) or os.path.expanduser("~"), path)


def below(root: str, name: str) -> str:
    """The path of `name` in `root`; refuses a name that would lead out of it."""
    if not name or name.startswith("/") or "\0" in name or {"", ".", ".."} & set(name.split("/")):
        raise Refusal(f"the name {name!r} is not a relative path")
    return f"{root}/{name}"


def write_atomically(path: str, text: str) -> None:
    """Replace the file's content in one step, private to the user."""
    partial = f"{path}.{os.getpid()}.part"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)
    os.replace(partial, path)


def read_json(path: str) -> Json | None:
    """The JSON in the file; `None` where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def open_file(path: str) -> int:
    """Open a file to read it, and nothing else that may lie there; raises `OSError`."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def write_at(descriptor: int, content: memoryview, offset: int) -> None:
    """Write all of it at its place."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def is_folder(path: str) -> bool:
    """Whether a real folder lies there, and no link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def in_threads(work: Callable[[Json], None], items: Iterable[Json], count: int) -> None:
    """Do `work` on every item in `count` threads; the first error is raised when all have stopped."""
    queue = iter(items)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def worker() -> None:
        while not errors:
            with lock:
                item = next(queue, None)
            if item is None:
                return
            try:
                work(item)
            except Exception as error:  # noqa: BLE001  (raised again below, in the thread that asked)
                errors.append(error)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def free_bytes(path: str) -> int:
    """What an unprivileged user may still write where `path` is or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def told(error: OSError) -> Json:
    """An operating system's error as an answer."""
    kind = "disk" if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else "os"
    return {"error": {"kind": kind, "message": f"{error.filename or 'the machine'}: {error.strerror}"}}
