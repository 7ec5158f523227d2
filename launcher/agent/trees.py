"""Trees of the machine: manifests, files up and down."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING

from .files import at_home, below, digest_of, free_bytes, in_threads, open_file, read_json, told, write_atomically
from .wire import BLOCK_BYTES, BlockReader, BlockWriter, Json, Refusal, Wire, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HELD_LIMIT = 256


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
