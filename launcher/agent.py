"""What runs on the machine: one file, the standard library alone, Python 3.8 and later.

`agent.py serve` answers framed requests on its standard input: manifests, files up and down, the job's start, its
report, its log. `agent.py supervise RUN` is the job's parent, which outlives every disconnect: it starts the job in
its own session, passes signals on, keeps the deadline, records how the job ended and what it used, and powers a
machine off that nobody holds a lease on any more.

A frame is one byte of kind, four bytes of length (big-endian) and the payload: `J` JSON, `j` JSON compressed by zlib,
`D` data, `d` data compressed by zlib. Requests and answers are JSON; a row of files travels as one stream of blocks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import select
import signal
import stat
import struct
import sys
import threading
import time
import zlib
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

MAGIC = b"gpurun-agent 1\n"
BLOCK_BYTES = 1 << 18
FRAME_LIMIT_BYTES = 1 << 26
HEADER = struct.Struct(">cI")
POLL_S = 0.015
HELD_LIMIT = 256
HEARTBEAT_S = 4.0
LEFTOVER_GRACE_S = 2.0
PYTHON_HOMES = ("/opt/gpurun/bin", "/opt/tensorflow/bin", "/opt/pytorch/bin")
SIGNALS = {"TERM": signal.SIGUSR2, "KILL": signal.SIGUSR1}
"""What the supervisor is sent for each request, to tell it apart from the machine's own shutdown, which is SIGTERM."""
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

Json = Any


class Refusal(Exception):
    """A request that cannot be answered, in words for the user."""


# --- frames ---------------------------------------------------------------------------------------------------------


class Wire:
    """Frames over a pair of file descriptors."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.buffer = bytearray()
        self.held: dict[str, int] = {}
        """Files of the last manifest, open as they were hashed: one that is replaced meanwhile is sent as it was."""

    def send(self, kind: bytes, payload: bytes) -> None:
        """Write one frame."""
        write_all(self.sink, HEADER.pack(kind, len(payload)) + payload)

    def send_json(self, value: Json) -> None:
        """Write one JSON frame, compressed when it is long."""
        text = json.dumps(value, separators=(",", ":")).encode("ascii")
        if len(text) > 1024:
            self.send(b"j", zlib.compress(text, 1))
        else:
            self.send(b"J", text)

    def receive(self) -> tuple[bytes, bytes]:
        """Read one frame; raises `EOFError` at the end."""
        while True:
            frame = self.buffered()
            if frame is not None:
                return frame
            self.fill()

    def receive_json(self) -> Json:
        """Read one JSON frame; raises `EOFError` at the end."""
        kind, payload = self.receive()
        if kind == b"j":
            payload = zlib.decompress(payload)
        elif kind != b"J":
            raise Refusal("a JSON frame was expected")
        return json.loads(payload)

    def buffered(self) -> tuple[bytes, bytes] | None:
        """The next frame if it has arrived whole."""
        if len(self.buffer) < HEADER.size:
            return None
        kind, size = HEADER.unpack_from(self.buffer)
        if size > FRAME_LIMIT_BYTES:
            raise Refusal("a frame is too long")
        if len(self.buffer) < HEADER.size + size:
            return None
        payload = bytes(memoryview(self.buffer)[HEADER.size : HEADER.size + size])
        del self.buffer[: HEADER.size + size]
        return kind, payload

    def fill(self) -> None:
        """Wait for more bytes; raises `EOFError` at the end."""
        data = os.read(self.source, BLOCK_BYTES)
        if not data:
            raise EOFError
        self.buffer += data

    def wait(self, timeout_s: float) -> None:
        """Take in what arrives within `timeout_s`."""
        if select.select([self.source], [], [], timeout_s)[0]:
            self.fill()

    def drain(self) -> None:
        """Throw everything away until the other side closes."""
        with contextlib.suppress(EOFError):
            while True:
                self.buffer.clear()
                self.fill()


class BlockWriter:
    """A row of bytes as data frames, compressed where that pays."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.pending = bytearray()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self.pending += data
        while len(self.pending) >= BLOCK_BYTES:
            self._send(bytes(self.pending[:BLOCK_BYTES]))
            del self.pending[:BLOCK_BYTES]

    def flush(self) -> None:
        """Send what is left."""
        if self.pending:
            self._send(bytes(self.pending))
            self.pending.clear()

    def _send(self, block: bytes) -> None:
        packed = zlib.compress(block, 1) if pays(block) else block
        self.wire.send(*((b"d", packed) if len(packed) < len(block) else (b"D", block)))


def pays(block: bytes) -> bool:
    """Whether a sample from the middle shrinks: to compress what does not costs more than a fast line does."""
    middle = len(block) // 2
    sample = block[max(0, middle - 2048) : middle + 2048]
    return len(zlib.compress(sample, 1)) < 0.9 * len(sample)


class BlockReader:
    """The row of bytes that a `BlockWriter` at the other side sends."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.block = memoryview(b"")

    def read(self, size: int) -> memoryview:
        """Between 1 and `size` bytes."""
        while not self.block:
            kind, payload = self.wire.receive()
            if kind not in {b"D", b"d"}:
                raise Refusal("a data frame was expected")
            self.block = memoryview(zlib.decompress(payload) if kind == b"d" else payload)
        part, self.block = self.block[:size], self.block[size:]
        return part


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


# --- files ----------------------------------------------------------------------------------------------------------


def at_home(path: str) -> str:
    """A home-relative path made absolute."""
    return os.path.join(os.path.expanduser("~"), path)


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


def digest_of(descriptor: int, size: int) -> str:
    """The sha256 of the first `size` bytes; raises `OSError`."""
    digest = hashlib.sha256()
    offset = 0
    while offset < size:
        block = os.pread(descriptor, min(BLOCK_BYTES, size - offset), offset)
        if not block:
            break
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


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


def inner_target(root: str, path: str) -> str | None:
    """Where the link at `path` leads, relative to it, if that lies in `root`; else `None`."""
    target = os.readlink(path)
    depth = os.path.relpath(path, root).count("/")
    parts = target.split("/")
    ups = len(parts) - len([part for part in parts if part != ".."])
    leading = parts[:ups] == [".."] * ups
    if target and not target.startswith("/") and leading and ups <= depth:
        return target
    real_root, real = os.path.realpath(root), os.path.realpath(path)
    if real == real_root or real.startswith(real_root + "/"):
        return os.path.relpath(real, os.path.realpath(os.path.dirname(path)))
    return None


def entry_of(root: str, name: str) -> Json | str:
    """A manifest line without its hash, or why there is none; raises `OSError`."""
    path = f"{root}/{name}"
    found = os.lstat(path)
    entry = {
        "name": name,
        "size_bytes": 0,
        "mode": stat.S_IMODE(found.st_mode),
        "mtime_ns": found.st_mtime_ns,
    }
    if stat.S_ISDIR(found.st_mode):
        return dict(entry, kind="directory")
    if stat.S_ISREG(found.st_mode):
        return dict(entry, kind="file", size_bytes=found.st_size)
    if not stat.S_ISLNK(found.st_mode):
        return "is neither a file, a folder nor a link"
    target = inner_target(root, path)
    return "is a link that leads out" if target is None else dict(entry, kind="symlink", link_target=target)


def walk(root: str, skipped: list[Json], prefix: str = "") -> Iterator[str]:
    """All names below `root`, folders before what they hold; folders that cannot be read go to `skipped`."""
    try:
        with os.scandir(f"{root}/{prefix}") as found:
            items = sorted((item.name, item.is_dir(follow_symlinks=False)) for item in found)
    except OSError as error:
        if error.errno != errno.ENOENT:
            skipped.append([prefix.rstrip("/"), error.strerror])
        return
    for name, folder in items:
        yield prefix + name
        if folder:
            yield from walk(root, skipped, f"{prefix}{name}/")


def manifest_of(root: str, names: Iterable[str], held: dict[str, int] | None = None) -> tuple[list[Json], list[Json]]:
    """The lines of the files that are there, hashed; and `[name, why]` of what is left out.

    Files are left open in `held` where it is given and they are few.
    """
    entries: list[Json] = []
    skipped: list[Json] = []
    for name in names:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            entry = entry_of(root, name)
            if isinstance(entry, str):
                skipped.append([name, entry])
            else:
                entries.append(entry)
    files = [entry for entry in entries if entry["kind"] == "file"]
    hold = held if held is not None and len(files) <= HELD_LIMIT else None

    def hash_entry(entry: Json) -> None:
        try:
            hash_file(f"{root}/{entry['name']}", entry, hold)
        except FileNotFoundError:
            entry["gone"] = True
        except OSError as error:
            skipped.append([entry["name"], f"cannot be read: {error.strerror}"])
            entry["gone"] = True

    in_threads(hash_entry, files, min(8, os.cpu_count() or 1))
    return [entry for entry in entries if "gone" not in entry], skipped


def hash_file(path: str, entry: Json, hold: dict[str, int] | None) -> None:
    """Add a file's hash to its line, with the size that was hashed; raises `OSError`."""
    descriptor = open_file(path)
    try:
        found = os.fstat(descriptor)
        entry["sha256"] = digest_of(descriptor, found.st_size)
        entry.update(size_bytes=found.st_size, mtime_ns=found.st_mtime_ns)
        if hold is not None:
            hold[entry["name"]] = os.dup(descriptor)
    finally:
        os.close(descriptor)


def record_of(root: str) -> str:
    """Where the names lie that were pushed into `root`."""
    return os.path.join(os.path.dirname(root), f".pushed-{os.path.basename(root)}")


def stage_of(root: str) -> str:
    """Where what is pushed into `root` waits until all of it is verified, each file under its sha256."""
    return os.path.join(os.path.dirname(root), f".staging-{os.path.basename(root)}")


def free_disk(_wire: Wire, request: Json) -> Json:
    """Bytes that may still be written there."""
    return {"free_bytes": free_bytes(at_home(request["root"]))}


def pushed(_wire: Wire, request: Json) -> Json:
    """What lies in a folder of all that was pushed into it, what is staged for it, and the free disk."""
    root = at_home(request["root"])
    entries, _ = manifest_of(root, read_json(record_of(root)) or [])
    stage = stage_of(root)
    staged = [name for name in os.listdir(stage) if len(name) == 64] if os.path.isdir(stage) else []
    return {"entries": entries, "staged": staged, "free_bytes": free_bytes(root)}


def receive(wire: Wire, request: Json) -> Json:
    """Take in the announced contents, and put the files in their places once every one of them is verified."""
    root = at_home(request["root"])
    stage = stage_of(root)
    reader = BlockReader(wire)
    bad = []
    try:
        os.makedirs(stage, mode=0o700, exist_ok=True)
        for sha256, size in request["contents"]:
            if not stage_content(reader, stage, sha256, size):
                bad.append(sha256)
        if not wire.receive_json().get("end"):
            raise Refusal("the end of the stream was expected")
    except OSError as error:
        # The other side may still be sending: it is told at once, and closes.
        wire.send_json(told(error))
        wire.drain()
        raise EOFError from error
    if bad:
        return {"bad": bad}
    place_all(root, stage, request)
    return {"bad": []}


def stage_content(reader: BlockReader, stage: str, sha256: str, size: int) -> bool:
    """Write one content next to the others; `False` where it is not what was announced."""
    digest = hashlib.sha256()
    path = below(stage, sha256)
    partial = f"{path}.part"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        while size:
            part = reader.read(size)
            size -= len(part)
            digest.update(part)
            write_all(descriptor, part)
    except OSError:
        os.unlink(partial)
        raise
    finally:
        os.close(descriptor)
    if digest.hexdigest() != sha256:
        os.unlink(partial)
        return False
    os.replace(partial, path)
    return True


def place_all(root: str, stage: str, request: Json) -> None:
    """Remove what vanished, then move every staged file into its place."""
    entries, names = request["entries"], request["names"]
    before = read_json(record_of(root)) or []
    write_atomically(record_of(root), json.dumps(sorted({*before, *names})))
    os.makedirs(root, exist_ok=True)
    for name in sorted(request["delete"], reverse=True):
        remove(below(root, name))
    uses: dict[str, int] = {}
    for entry in entries:
        if entry["kind"] == "file":
            uses[entry["sha256"]] = uses.get(entry["sha256"], 0) + 1
    for entry in entries:
        place(below(root, entry["name"]), stage, entry, uses)
    write_atomically(record_of(root), json.dumps(names))
    for leftover in os.listdir(stage):
        os.unlink(f"{stage}/{leftover}")
    os.rmdir(stage)


def remove(path: str) -> None:
    """Remove a file or link, or a folder if nothing else lies in it."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}:
            raise


def place(path: str, stage: str, entry: Json, uses: dict[str, int]) -> None:
    """Put one folder, link or staged file where it belongs; one that is there already gets its mode and time."""
    if entry["kind"] == "directory":
        os.makedirs(path, exist_ok=True)
        os.chmod(path, entry["mode"] | stat.S_IRWXU)
        return
    if entry["kind"] == "symlink":
        partial = f"{path}.gpurun-part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        os.symlink(entry["link_target"], partial)
        os.replace(partial, path)
        return
    sha256 = entry["sha256"]
    uses[sha256] -= 1
    staged = f"{stage}/{sha256}"
    if os.path.exists(staged):
        if uses[sha256]:
            partial = f"{staged}.copy"
            copy(staged, partial)
            staged = partial
        os.chmod(staged, entry["mode"])
        os.utime(staged, ns=(entry["mtime_ns"], entry["mtime_ns"]))
        os.replace(staged, path)
    else:
        os.chmod(path, entry["mode"])
        os.utime(path, ns=(entry["mtime_ns"], entry["mtime_ns"]))


def copy(source: str, target: str) -> None:
    """Copy a file's content."""
    with open(source, "rb") as old, open(target, "wb") as new:
        while True:
            block = old.read(BLOCK_BYTES)
            if not block:
                return
            new.write(block)


def manifest(wire: Wire, request: Json) -> Json:
    """What lies in a folder, hashed; all of it, or the names asked for."""
    root = at_home(request["root"])
    closed: list[Json] = []
    names = request.get("names")
    let_go(wire)
    entries, skipped = manifest_of(root, walk(root, closed) if names is None else names, wire.held)
    return {"entries": entries, "skipped": closed + skipped}


def let_go(wire: Wire) -> None:
    """Close the files that are held open."""
    for descriptor in wire.held.values():
        os.close(descriptor)
    wire.held.clear()


def send(wire: Wire, request: Json) -> Json:
    """The first `size` bytes of each file asked for, one after the other; what fell short is filled with zeros."""
    root = at_home(request["root"])
    writer = BlockWriter(wire)
    trouble = {}
    for index, (name, size) in enumerate(request["files"]):
        why = send_file(writer, below(root, name), size, wire.held.pop(name, -1))
        if why:
            trouble[str(index)] = why
    writer.flush()
    return {"end": True, "trouble": trouble}


def send_file(writer: BlockWriter, path: str, size: int, descriptor: int) -> str:
    """Send exactly `size` bytes, of the open file if there is one; says why they are not the file's, if so."""
    offset = 0
    try:
        if descriptor < 0:
            descriptor = open_file(path)
        while offset < size:
            block = os.pread(descriptor, min(size - offset, BLOCK_BYTES), offset)
            if not block:
                break
            writer.write(block)
            offset += len(block)
    except BrokenPipeError:
        raise
    except OSError as error:
        pad(writer, size - offset)
        return os.strerror(error.errno or 0)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    pad(writer, size - offset)
    return "shorter than it was" if offset < size else ""


def pad(writer: BlockWriter, size: int) -> None:
    """Send `size` zeros."""
    while size:
        step = min(size, BLOCK_BYTES)
        writer.write(bytes(step))
        size -= step


def fetch(wire: Wire, request: Json) -> Json:
    """Download presigned URLs into a folder, each to its announced size."""
    root = at_home(request["root"])
    lock = threading.Lock()
    fetched = [0, 0]

    def fetch_one(item: Json) -> None:
        path = below(root, item["name"])
        if not (os.path.isfile(path) and os.path.getsize(path) == item["size_bytes"]):
            download(item["url"], path, item["name"], item["size_bytes"])
        with lock:
            fetched[0] += 1
            fetched[1] += item["size_bytes"]
            wire.send_json({"fetched_files": fetched[0], "fetched_bytes": fetched[1]})

    in_threads(fetch_one, request["objects"], 8)
    return {"end": True}


def download(url: str, path: str, name: str, size_bytes: int) -> None:
    """Fetch one URL; refuses more or fewer bytes than announced. The URL is a credential: it is never shown."""
    # 30 ms that no other operation has to pay.
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = f"{path}.gpurun-part"
    left = size_bytes
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(partial, "wb") as file:  # noqa: S310  (ours)
            while True:
                block = answer.read(BLOCK_BYTES)
                left -= len(block)
                if not block or left < 0:
                    break
                file.write(block)
    except urllib.error.HTTPError as error:
        raise Refusal(f"{name}: the store answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise Refusal(f"{name}: {error.reason}") from None
    if left:
        os.unlink(partial)
        raise Refusal(f"{name}: {size_bytes} bytes were announced, {'more' if left < 0 else size_bytes - left} came")
    os.replace(partial, path)


# --- the job --------------------------------------------------------------------------------------------------------


def run_paths(run: str) -> dict[str, str]:
    """What lies where in a run's folder; `launcher.sync.layout` knows the same."""
    names = (
        "code",
        "data",
        "output",
        "checkpoint",
        "keras",
        "log",
        "state",
        "lease",
        "released",
        "job.sh",
        "supervisor.log",
    )
    return {name: os.path.join(run, name) for name in names}


@contextlib.contextmanager
def locked(path: str, how: int) -> Iterator[IO[str]]:
    """Hold a lock file; raises `BlockingIOError` where `how` says not to wait."""
    with open(path, "a", encoding="ascii") as file:
        fcntl.flock(file, how)
        yield file


def supervised(run: str) -> bool:
    """Whether the run's supervisor lives: it holds a lock for as long as it does, whatever becomes of its number."""
    try:
        with locked(f"{run}/supervisor.lock", fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def started_ticks(pid: int) -> str:
    """When a process started, in clock ticks since boot, with the boot's id; empty where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}:{ticks}"
    except (OSError, IndexError):
        return ""


def job_lives(state: Json) -> bool:
    """Whether the job's first process is still there, by number and birth."""
    pid = state.get("job")
    if not pid or started_ticks(pid) != state.get("job_started"):
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def report_of(run: str) -> Json:
    """The job's state, true after any crash: what no supervisor will ever end is `lost`."""
    paths = run_paths(run)
    state = read_json(paths["state"]) or {"state": "absent"}
    if state["state"] in {"starting", "running"} and not supervised(run):
        # It may have written the end between the two looks.
        state = read_json(paths["state"]) or state
        if state["state"] in {"starting", "running"}:
            state["state"] = "running" if job_lives(state) else "lost"
    with contextlib.suppress(FileNotFoundError):
        state["log_bytes"] = os.stat(paths["log"]).st_size
    return state


def start(_wire: Wire, request: Json) -> Json:
    """Start the job under a supervisor and wait for its process number; a job that was started is left alone."""
    run = at_home(request["run"])
    paths = run_paths(run)
    for folder in ("code", "data", "output", "checkpoint"):
        os.makedirs(paths[folder], exist_ok=True)
    os.chmod(run, 0o700)
    with locked(f"{run}/start.lock", fcntl.LOCK_EX):
        state = report_of(run)
        if state["state"] != "absent" and (state["state"] != "lost" or state.get("job")):
            return {"already": True, "report": state}
        write_lease(run, request["job"]["lease_s"])
        problem = start_supervisor(run, json.dumps(request["job"]).encode("ascii"))
        if problem:
            raise Refusal(f"the job's supervisor did not start: {problem}")
        return {"already": False, "report": report_of(run)}


def start_supervisor(run: str, order: bytes) -> str:
    """Start it twice removed from this process, hand it the job through a pipe, and wait until it has confirmed.

    A fresh process and not a fork of this one, since a child's peak memory counts from its parent's size.
    Secrets are in the order: they pass through the pipe and rest nowhere. Gives the problem, if any.
    """
    order_out, order_in = os.pipe()
    ready_out, ready_in = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            log = os.open(run_paths(run)["supervisor.log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for source, target in ((order_out, 0), (ready_in, 1), (log, 2)):
                os.dup2(source, target)
            argv = [sys.executable, "-IS", "-X", "utf8", os.path.abspath(__file__), "supervise", run]
            os.execv(argv[0], argv)  # noqa: S606  (an argv list, no shell)
        finally:
            os._exit(127)
    os.close(order_out)
    os.close(ready_in)
    os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        write_all(order_in, order)
    os.close(order_in)
    with os.fdopen(ready_out, "rb") as ready:
        answer = ready.read()
    return "" if answer == b"running\n" else (answer.decode(errors="replace") or "it died at once")


def report(_wire: Wire, request: Json) -> Json:
    """What there is to say of the job."""
    return {"report": report_of(at_home(request["run"]))}


def renew(_wire: Wire, request: Json) -> Json:
    """Push the lease's end off."""
    write_lease(at_home(request["run"]), request["lease_s"])
    return {}


def release(_wire: Wire, request: Json) -> Json:
    """The results are home: the machine need not wait for anybody to come for them."""
    write_atomically(run_paths(at_home(request["run"]))["released"], "")
    return {}


def write_lease(run: str, lease_s: float) -> None:
    """Note until when somebody holds the machine, in seconds since the epoch."""
    write_atomically(run_paths(run)["lease"], json.dumps(time.time() + lease_s))


def send_signal(_wire: Wire, request: Json) -> Json:
    """Ask the supervisor to end the job; where it is dead, signal the job's process group itself."""
    run = at_home(request["run"])
    state = report_of(run)
    if state["state"] in {"starting", "running"}:
        with contextlib.suppress(ProcessLookupError):
            if supervised(run):
                os.kill(state["supervisor"], SIGNALS[request["signal"]])
            else:
                os.killpg(state["job"], getattr(signal, f"SIG{request['signal']}"))
    return {"report": state}


def follow(wire: Wire, request: Json) -> Json:
    """Send the log from `offset` on as it grows, until the job has ended and all of it is sent.

    What the other side sends meanwhile renews the lease; silence is broken by a heartbeat.
    """
    run = at_home(request["run"])
    tail = Tail(wire, run, request["offset"])
    spoke = time.monotonic()
    try:
        while True:
            if tail.send_new():
                spoke = time.monotonic()
            elif tail.ended() or request["once"]:
                return {"done": tail.report}
            elif time.monotonic() - spoke > HEARTBEAT_S:
                spoke = time.monotonic()
                wire.send_json({"beat": True})
            wire.wait(0 if tail.behind else POLL_S)
            while True:
                frame = wire.buffered()
                if frame is None:
                    break
                write_lease(run, json.loads(frame[1])["lease_s"])
    finally:
        tail.close()


class Tail:
    """The reading end of a job's log."""

    def __init__(self, wire: Wire, run: str, offset: int) -> None:
        self.wire = wire
        self.run = run
        self.offset = offset
        self.behind = False
        self.report: Json = {"state": "absent"}
        self.descriptor = -1
        self.seen: tuple[int, int] | None = None
        self.looked = 0.0

    def send_new(self) -> bool:
        """Send the next block; whether there was one."""
        if self.descriptor < 0:
            with contextlib.suppress(FileNotFoundError):
                self.descriptor = os.open(run_paths(self.run)["log"], os.O_RDONLY)
        if self.descriptor < 0:
            return False
        size = os.fstat(self.descriptor).st_size
        if self.offset > size:
            raise Refusal(f"the log holds {size} bytes, fewer than the {self.offset} that came home")
        block = os.pread(self.descriptor, BLOCK_BYTES, self.offset) if size > self.offset else b""
        if block:
            self.offset += len(block)
            packed = zlib.compress(block, 1) if len(block) > 1024 else block
            self.wire.send(*((b"d", packed) if len(packed) < len(block) else (b"D", block)))
        self.behind = len(block) == BLOCK_BYTES
        return bool(block)

    def ended(self) -> bool:
        """Whether the job is over and its log at its end: looked at when the state changed, and once a second."""
        try:
            found = os.stat(run_paths(self.run)["state"])
            seen = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            seen = (0, 0)
        now = time.monotonic()
        if seen == self.seen and now - self.looked < 1 and self.report["state"] not in {"done", "lost"}:
            return False
        self.seen, self.looked = seen, now
        self.report = report_of(self.run)
        return self.report["state"] in {"done", "lost"} and self.offset >= self.report.get("log_bytes", 0)

    def close(self) -> None:
        """Let go of the log."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


# --- the supervisor -------------------------------------------------------------------------------------------------


def supervise(run: str) -> int:
    """Run the job whose order comes on standard input, to its end and as long after it as the lease asks."""
    with open(f"{run}/supervisor.lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        order = json.loads(read_all(0))
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        supervisor = Supervisor(run, order)
        try:
            supervisor.start()
        except OSError as error:
            os.write(1, f"{error.filename or run}: {error.strerror}".encode("utf-8", "surrogateescape"))
            raise
        order["secrets"].clear()
        os.write(1, b"running\n")
        os.dup2(nothing, 1)
        supervisor.wait()
        if order["owned"] and not supervisor.leaving:
            supervisor.hold_machine()
    return 0


def read_all(descriptor: int) -> bytes:
    """Read to the end."""
    found = bytearray()
    while True:
        block = os.read(descriptor, BLOCK_BYTES)
        if not block:
            return bytes(found)
        found += block


class Supervisor:
    """The job's parent. Times in seconds, the deadline since the epoch."""

    def __init__(self, run: str, order: Json) -> None:
        self.run = run
        self.paths = run_paths(run)
        self.order = order
        self.state: Json = {"state": "starting", "supervisor": os.getpid()}
        self.kill_at: float | None = None
        self.job = 0
        self.leaving = False
        self.wakeup = catch_signals()

    def start(self) -> None:
        """Start the job in a session and process group of its own."""
        self.note()
        self.ooms = oom_kills()
        self.began = time.monotonic()
        self.job = start_job(self.run, self.order)
        self.note(state="running", job=self.job, job_started=started_ticks(self.job), started_at=time.time())

    def note(self, **changes: Json) -> None:
        """Write the state down, in one step."""
        self.state.update(changes)
        write_atomically(self.paths["state"], json.dumps(self.state))

    def wait(self) -> None:
        """See the job to its end, and write down how it ended."""
        while True:
            pid, status, used = os.wait4(self.job, os.WNOHANG)
            if pid:
                break
            ready = select.select([self.wakeup], [], [], self.pause_s())[0]
            caught = os.read(self.wakeup, 256) if ready else b""
            self.obey(set(caught))
        elapsed_s = time.monotonic() - self.began
        end_group(self.job)
        signalled = os.WIFSIGNALED(status)
        exit_status = 128 + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
        self.note(
            state="done",
            ended_at=time.time(),
            exit_status=exit_status,
            killed_by_memory=bool(exit_status and "ended_by" not in self.state and oom_kills() > self.ooms),
            usage=usage_of(used, elapsed_s),
        )

    def pause_s(self) -> float:
        """How long nothing can be due; at most half a minute, since clocks are set."""
        due_s = 30.0
        if self.kill_at is not None:
            due_s = min(due_s, self.kill_at - time.monotonic())
        elif self.order["deadline_epoch_s"]:
            due_s = min(due_s, self.order["deadline_epoch_s"] - self.order["grace_s"] - time.time())
        return max(due_s, 0.0)

    def obey(self, signals: set[int]) -> None:
        """Pass on what was asked for, and what the clock asks for."""
        deadline = self.order["deadline_epoch_s"]
        if signals & {signal.SIGTERM, signal.SIGINT}:
            self.leaving = True
            self.terminate("shutdown")
        elif signal.SIGUSR2 in signals:
            self.terminate("signal")
        elif self.kill_at is None and deadline and time.time() >= deadline - self.order["grace_s"]:
            self.terminate("deadline")
        if signal.SIGUSR1 in signals:
            self.state.setdefault("ended_by", "signal")
            self.kill_at = time.monotonic()
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            signal_group(self.job, signal.SIGKILL)
            self.kill_at = time.monotonic() + 1.0

    def terminate(self, why: str) -> None:
        """Ask the job to save and exit; what remains after the grace is killed."""
        if self.kill_at is None:
            self.note(ended_by=why)
            signal_group(self.job, signal.SIGTERM)
            self.kill_at = time.monotonic() + self.order["grace_s"]

    def hold_machine(self) -> None:
        """Wait until nobody holds the machine and its results have had their time, then power it off."""
        ended = self.state["ended_at"]
        kept = ended + (self.order["keep_on_failure_s"] if self.state["exit_status"] else 0.0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            lease = read_json(self.paths["lease"]) or 0.0
            waiting = max(ended, lease) + self.order["results_grace_s"]
            released = os.path.exists(self.paths["released"])
            left_s = (kept if released else max(kept, waiting)) - time.time()
            if left_s <= 0:
                power_off()
            time.sleep(min(left_s, 5.0) if left_s > 0 else 60.0)


def catch_signals() -> int:
    """Turn signals into bytes on a pipe; gives its reading end."""
    out, into = os.pipe()
    os.set_blocking(into, False)

    def caught(number: int, frame: FrameType | None) -> None:
        """Nothing to do here: the number is on the pipe."""

    for number in CAUGHT:
        signal.signal(number, caught)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(into)
    return out


def start_job(run: str, order: Json) -> int:
    """Fork the job's first process; one that cannot be executed says so in the log and ends with 127, as in a shell."""
    paths = run_paths(run)
    argv = order["argv"]
    if order["script"]:
        write_atomically(paths["job.sh"], order["script"])
        argv = ["bash", "-e", "-o", "pipefail", paths["job.sh"]]
    environment = job_environment(run, order)
    log = os.open(paths["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid:
        os.close(log)
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*CAUGHT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(paths["code"])
        os.execvpe(argv[0], argv, environment)  # noqa: S606  (an argv list, no shell)
    except OSError as error:
        os.write(2, f"gpurun: {argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if error.errno == errno.ENOENT else 126)
    finally:
        os._exit(126)


def job_environment(run: str, order: Json) -> dict[str, str]:
    """The job contract: what the caller set wins over our defaults, and GPURUN_* is always ours."""
    paths = run_paths(run)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    homes = [home for home in PYTHON_HOMES if os.path.isdir(home)]
    environment["PATH"] = os.pathsep.join([*homes, environment.get("PATH", os.defpath)])
    environment.update(MPLBACKEND="Agg", PYTHONUNBUFFERED="1", TF_CPP_MIN_LOG_LEVEL="2")
    if order["device"] == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    if "KERAS_HOME" not in order["env"]:
        environment["KERAS_HOME"] = keras_home(paths["keras"], order["floatx"])
    environment.update(order["env"])
    environment.update(order["secrets"])
    environment.update(
        GPURUN_RUN_ID=os.path.basename(run),
        GPURUN_DEVICE=order["device"],
        GPURUN_FLOATX=order["floatx"],
        GPURUN_DATA_DIR=paths["data"],
        GPURUN_OUTPUT_DIR=paths["output"],
        GPURUN_CHECKPOINT_DIR=paths["checkpoint"],
    )
    return environment


def keras_home(folder: str, floatx: str) -> str:
    """A Keras configuration folder with our floatx and everything else as the user of the machine has it."""
    os.makedirs(folder, exist_ok=True)
    own = os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    try:
        settings = read_json(own) or {}
    except ValueError:
        settings = {}
    settings["floatx"] = floatx
    write_atomically(f"{folder}/keras.json", json.dumps(settings))
    return folder


def signal_group(pid: int, number: int) -> bool:
    """Signal a process group; `False` where nothing of it is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group that holds only zombies.
        return False
    return True


def end_group(pid: int) -> None:
    """End what the job left running in its process group, so that its log is final."""
    if not signal_group(pid, signal.SIGTERM):
        return
    until = time.monotonic() + LEFTOVER_GRACE_S
    while signal_group(pid, 0) and time.monotonic() < until:
        time.sleep(0.01)
    signal_group(pid, signal.SIGKILL)


def usage_of(used: Any, elapsed_s: float) -> Json:
    """The figures that `time` prints, from wait4(2): seconds, KiB and counts."""
    return {
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "elapsed_s": elapsed_s,
        "max_rss_kib": used.ru_maxrss // (1024 if sys.platform == "darwin" else 1),
        "major_faults": used.ru_majflt,
        "minor_faults": used.ru_minflt,
        "inputs": used.ru_inblock,
        "outputs": used.ru_oublock,
    }


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory: in our control group where it says, else at all."""
    with contextlib.suppress(OSError):
        with open("/proc/self/cgroup", encoding="ascii") as file:
            group = file.read().rpartition("0::")[2].strip()
        return counter(f"/sys/fs/cgroup{group}/memory.events")
    with contextlib.suppress(OSError):
        return counter("/proc/vmstat")
    return 0


def counter(path: str) -> int:
    """The line `oom_kill N` of a kernel file; raises `OSError` where there is none."""
    with open(path, encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    raise FileNotFoundError(path)


def power_off() -> None:
    """Shut the machine down; EC2 terminates one that was launched to."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for argv in (["sudo", "-n", "shutdown", "-h", "now"], ["shutdown", "-h", "now"]):
        if os.spawnvp(os.P_WAIT, argv[0], argv) == 0:  # noqa: S606  (an argv list, no shell)
            return


# --- serving --------------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[Wire, Json], Json]] = {
    "free": free_disk,
    "pushed": pushed,
    "receive": receive,
    "manifest": manifest,
    "send": send,
    "fetch": fetch,
    "start": start,
    "report": report,
    "renew": renew,
    "release": release,
    "signal": send_signal,
    "follow": follow,
}


def told(error: OSError) -> Json:
    """An operating system's error as an answer."""
    kind = "disk" if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else "os"
    return {"error": {"kind": kind, "message": f"{error.filename or 'the machine'}: {error.strerror}"}}


def serve() -> int:
    """Answer requests until the other side hangs up."""
    wire = Wire(0, 1)
    write_all(1, MAGIC)
    while True:
        try:
            request = wire.receive_json()
            answer = OPERATIONS[request["op"]](wire, request)
        except (EOFError, BrokenPipeError):
            return 0
        except Refusal as refusal:
            answer = {"error": {"kind": "refused", "message": str(refusal)}}
        except OSError as error:
            answer = told(error)
        try:
            wire.send_json(answer)
        except BrokenPipeError:
            return 0


def main(arguments: list[str]) -> int:
    """`serve`, or `supervise RUN`."""
    if arguments[1:2] == ["supervise"]:
        return supervise(arguments[2])
    return serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
