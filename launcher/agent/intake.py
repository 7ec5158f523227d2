"""Trees that come up: every file is staged and verified, then all of them are put in place under a journal.

Beside a folder lie its record (`.pushed-NAME`: what was pushed into it) and, while something is on its way, its stage
(`.staging-NAME`): `tree/` holds files that are whole, `parts/` large ones that are not yet, each with the leaves of
what has been verified, `rows/` the lines of the whole ones. `commit` is the journal: from the moment that it is there
the update is decided, and whoever comes next finishes it. Nothing is fsynced: a machine that crashes does not come
back, and its run goes on elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
import threading
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from .codec import Codec
from .files import at_home, below, free_bytes, in_threads, open_file, read_json, write_atomically
from .hashes import HASH_BYTES, LEAF_BYTES, digest_of, digest_of_leaves, grains_of, leaf_count, leaves_of
from .job import job_runs_in
from .parcels import NUMBER, split
from .record import contents_digest, line_of, state_digest
from .store import stored
from .wire import Json, Refusal, Wire, frame_of, write_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .hashes import Data

COPY_BYTES = 1 << 20
OPEN_PARTS = 16
ANSWERS_BYTES = 36
"""Of four parcels: each answer that goes alone wakes two processes and three threads."""
MISSING = bytes(HASH_BYTES)
OWNER = stat.S_IRWXU
PATH_BYTES = 4096
"""With the zero that ends it; PATH_MAX and NAME_MAX of Linux."""
NAME_BYTES = 255
HALF = b'{"half": true'
"""How the record begins where an update was given up."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Place:
    """A folder that is pushed into, with its record and its stage."""

    def __init__(self, root: str) -> None:
        above, name = os.path.split(root)
        self.root = root
        self.record = os.path.join(above, f".pushed-{name}")
        self.lock = os.path.join(above, f".lock-{name}")
        self.stage = os.path.join(above, f".staging-{name}")
        self.tree = f"{self.stage}/tree"
        self.parts = f"{self.stage}/parts"
        self.rows = f"{self.stage}/rows"
        self.journal = f"{self.stage}/commit"
        self.link = f"{self.stage}/link"
        self.new_record = f"{self.stage}/record"

    def items(self) -> list[Json]:
        """What was pushed: [name, kind, size, mtime_ns, mode, link target, digest], sorted by name.

        An eighth column is the time that the disk made of `mtime_ns`, where it cannot hold that.
        """
        found = self.recorded()
        return found["items"] if found else []

    def is_half(self) -> bool:
        """Whether an update was given up when it was done in part; no more is read than tells it."""
        try:
            with open(self.record, "rb") as file:
                return file.read(len(HALF)) == HALF
        except FileNotFoundError:
            return False

    def recorded(self) -> Json | None:
        """The record; `None` where there is none, or one that cannot be read."""
        try:
            found = read_json(self.record)
        except ValueError:
            return None
        return found if isinstance(found, dict) and {"items", "digest"} <= set(found) else None

    def open_stage(self) -> None:
        """Make the stage's folders."""
        for folder in (self.tree, self.parts, self.rows):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def part(self, name: str, size: int, mtime_ns: int) -> str:
        """Where a large file gathers: another content of the same name gathers elsewhere."""
        return f"{self.parts}/{part_key(name, size, mtime_ns)}"

    def staged_rows(self) -> dict[str, Json]:
        """The lines of the files that are whole in the stage, by name; a file that is not as its line says is not.

        Of several for a name the last counts that is as the file is: a clock that was set back misorders them.
        """
        found: dict[str, list[Json]] = {}
        if not os.path.isdir(self.rows):
            return found
        for log in sorted(os.listdir(self.rows)):
            with open(f"{self.rows}/{log}", encoding="ascii") as file:
                for line in file:
                    with contextlib.suppress(ValueError):  # the last line of a process that was killed
                        row = json.loads(line)
                        found.setdefault(row[0], []).append(row)
        whole = {}
        for name, rows in found.items():
            now = present(self.tree, rows[0])
            for row in rows:
                if as_lies(row) == now:
                    whole[name] = row
        return whole


def as_lies(row: Json) -> Json:
    """The line as `present` tells it of a file that nothing has touched."""
    return [*row[:3], row[7], *row[4:6]] if len(row) > 7 else row[:6]


def set_mtime(file: int | str, mtime_ns: int) -> list[int]:
    """Set the time of a file, open or named; gives what the disk made of it, if that is another.

    ext4 ends in 1901 and 2446, others hold whole seconds.
    """
    os.utime(file, ns=(mtime_ns, mtime_ns))
    real_ns = os.stat(file).st_mtime_ns
    return [] if real_ns == mtime_ns else [real_ns]


def part_key(name: str, size: int, mtime_ns: int) -> str:
    """The file name of a part."""
    return sha256(f"{name}\0{size}\0{mtime_ns}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


@contextlib.contextmanager
def sole(place: Place, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Nobody else commits there meanwhile; nor stages anything, unless `kind` is LOCK_SH."""
    os.makedirs(os.path.dirname(place.lock), exist_ok=True)
    with open(place.lock, "a", encoding="ascii") as file:
        fcntl.flock(file, kind)
        yield


# --- what is there --------------------------------------------------------------------------------------------------


def state(_wire: Wire, request: Json) -> Json:
    """The digest of what lies there of all that was pushed: a laptop that has the same has nothing to send."""
    place = Place(at_home(request["root"]))
    settle_or_forget(place)
    return {
        "digest": lying_digest(place),
        "staged": os.path.isdir(place.stage),
        "zstd": Codec().zstd is not None,
        "free_bytes": free_bytes(place.root),
        "store": [[size, name] for size, name in stored()],
    }


def free_disk(_wire: Wire, request: Json) -> Json:
    """Bytes that may still be written there."""
    return {"free_bytes": free_bytes(at_home(request["root"]))}


def lying_digest(place: Place) -> str:
    """The digest of all lines as they are now; empty where nothing was ever pushed."""
    found = place.recorded()
    if not found:
        return ""
    if "half" in found:
        return "half"  # no digest that a laptop has: it must send what it has
    if all_untouched(place.root, found["items"]):
        return str(found["digest"])
    return state_digest(line_of(now) for _, now in lying(place))


def all_untouched(root: str, items: list[Json]) -> bool:
    """Whether everything is as it was put there: the usual case, in as little time as Python can."""
    lstat, regular, folder, prefix = os.lstat, stat.S_IFREG, stat.S_IFDIR, f"{root}/"
    try:
        for name, kind, size, mtime_ns, mode, target, _, *real_ns in items:
            found = lstat(prefix + name)
            if kind == "f":
                lies_ns = real_ns[0] if real_ns else mtime_ns
                if found.st_mode != regular | mode or found.st_size != size or found.st_mtime_ns != lies_ns:
                    return False
            elif kind == "d":
                if found.st_mode & ~0o7000 != folder | mode:
                    return False
            elif os.readlink(prefix + name) != target:
                return False
    except OSError:  # where no link is, as well
        return False
    return True


def lying(place: Place) -> Iterator[tuple[Json, Json]]:
    """Each line of the record beside what is there now: of no kind where nothing is, or a folder above is none."""
    lost: set[str] = set()
    for item in place.items():
        now = present(place.root, item)
        if item[1] == "d" and (now is None or now[1] != "d"):
            lost.add(item[0])
        if now is None or (lost and is_below(item[0], lost)):
            now = [item[0], "", 0, 0, 0, ""]
        if len(item) > 7 and now[1] == "f" and now[3] == item[7]:
            now[3] = item[3]
        yield item, now


def is_below(name: str, folders: Collection[str]) -> bool:
    """Whether one of these folders lies above the name."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in folders:
            return True
    return False


def present(root: str, item: Json) -> Json | None:
    """The line as the file system has it now; `None` where that name is gone."""
    path = f"{root}/{item[0]}"
    try:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            return [item[0], "f", found.st_size, found.st_mtime_ns, found.st_mode & 0o777, ""]
        if stat.S_ISDIR(found.st_mode):
            return [item[0], "d", 0, 0, found.st_mode & 0o777 | OWNER, ""]
        if stat.S_ISLNK(found.st_mode):
            return [item[0], "l", 0, 0, 0, os.readlink(path)]
    except OSError:
        return None
    return [item[0], "?", 0, 0, 0, ""]


def entries(_wire: Wire, request: Json) -> Json:
    """All that was pushed, as it is now; a digest is told only where nothing has touched the file since."""
    found = []
    for item, now in lying(Place(at_home(request["root"]))):
        untouched = now[1] == "f" and now[1:4] == item[1:4]
        found.append([*now, item[6] if untouched else ""])
    return {"entries": found}


def staged(_wire: Wire, request: Json) -> Json:
    """What an earlier transfer left in the stage: whole files, and of large ones the leaves that are verified."""
    place = Place(at_home(request["root"]))
    parts = {}
    if os.path.isdir(place.parts):
        for name in os.listdir(place.parts):
            if name.endswith(".leaves"):
                with open(f"{place.parts}/{name}", "rb") as file:
                    parts[name[: -len(".leaves")]] = runs_of(file.read())
    return {"rows": [row[:7] for row in place.staged_rows().values()], "parts": parts}


def runs_of(leaves: bytes) -> list[list[int]]:
    """The runs [first leaf, how many] that are there."""
    runs: list[list[int]] = []
    for number in range(len(leaves) // HASH_BYTES):
        if leaves[number * HASH_BYTES : (number + 1) * HASH_BYTES] == MISSING:
            continue
        if runs and sum(runs[-1]) == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return runs


# --- what comes -----------------------------------------------------------------------------------------------------


def take(wire: Wire, request: Json) -> Json:
    """Take parcels in, one answer each, until the end is told; other lanes may bring others at the same time."""
    place = Place(at_home(request["root"]))
    place.open_stage()
    intake = Intake(place)
    codec = Codec()
    answers = bytearray()
    old = os.umask(0)  # files get their mode when they are made
    try:
        while True:
            if answers and (len(answers) >= ANSWERS_BYTES or not wire.waiting()):
                write_all(wire.sink, bytes(answers))
                answers.clear()
            kind, payload = wire.receive()
            if kind in {b"J", b"j"}:
                write_all(wire.sink, bytes(answers))
                return {"taken": intake.parcels}
            try:
                why = intake.accept(codec.unpack(kind, memoryview(payload)[NUMBER.size :]))
            except ValueError as error:
                why = str(error)
            except OSError as error:
                raise with_room(error, place, request.get("need_bytes", 0)) from None
            answers += frame_of(b"N" if why else b"A", bytes(payload[: NUMBER.size]) + why.encode("utf-8", "replace"))
    finally:
        os.umask(old)
        intake.close()


class Intake:
    """Verifies parcels and writes them to the stage."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.parcels = 0
        self.folders: set[str] = set()
        self.open: dict[str, tuple[int, int]] = {}
        self.noting = threading.Lock()
        self.gate = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o600)
        # Named by time: of two lines for one name the later one counts.
        self.rows = os.open(
            f"{place.rows}/{time.time_ns():020d}-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )

    def accept(self, body: Data) -> str:
        """Take one parcel in; says why not, if so. Raises `ValueError` for what is no parcel.

        Never while the stage is put in place: what a dead line still brings must not change files that lie there.
        """
        header, digests, contents = split(body)
        self.parcels += 1
        fcntl.flock(self.gate, fcntl.LOCK_SH)
        try:
            if not os.fstat(self.rows).st_nlink:
                return "another upload has ended this one"
            if "files" in header:
                return self.take_files(header["files"], digests, contents)
            if "parts" in header:
                return self.take_parts(header["parts"], digests, contents)
            return self.seal(header["seal"], digests[0])
        finally:
            fcntl.flock(self.gate, fcntl.LOCK_UN)

    def take_files(self, rows: list[Json], digests: list[bytes], contents: memoryview) -> str:
        """Whole files."""
        at = 0
        lines = []
        for (name, size, mtime_ns, mode), digest in zip(rows, digests):  # noqa: B905  (Python 3.8)
            content = contents[at : at + size]
            at += size
            if len(content) != size or digest_of(content) != digest:
                return f"{name}: what came is not what was sent"
            path = self.path_of(name)
            descriptor, partial = self.new_file(path, mode)
            try:
                if size:
                    write_whole(descriptor, content)
                real_ns = set_mtime(descriptor, mtime_ns)
            finally:
                os.close(descriptor)
            if partial:
                put(partial, path)
            lines.append(json.dumps([name, "f", size, mtime_ns, mode, "", digest.hex(), *real_ns]) + "\n")
        self.note("".join(lines))
        return ""

    def note(self, lines: str) -> None:
        """Write lines of whole files, all or none: half a line would spoil the next."""
        with self.noting:
            end = os.fstat(self.rows).st_size
            try:
                write_all(self.rows, lines.encode("ascii"))
            except OSError:
                os.ftruncate(self.rows, end)
                raise

    def path_of(self, name: str) -> str:
        """Where a whole file waits; its folder is made."""
        path = below(self.place.tree, name)
        folder = path.rpartition("/")[0]
        if folder not in self.folders:
            try:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                clear_way(self.place.tree, name)
                os.makedirs(folder, mode=0o700, exist_ok=True)
            self.folders.add(folder)
        return path

    def new_file(self, path: str, mode: int) -> tuple[int, str]:
        """A file that is nobody else's, open, and its name until it is whole; empty where that is `path` itself.

        What lies there already may be linked to a file in place, or come from another line that writes it still.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return os.open(path, flags, mode), ""
        except FileExistsError:
            partial = f"{self.place.parts}/{os.getpid()}.file"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            return os.open(partial, flags, mode), partial

    def take_parts(self, header: Json, digests: list[bytes], contents: memoryview) -> str:
        """Ranges [offset, length, whether all zeros] of a large file; zeros come without content and stay a hole."""
        name, size, mtime_ns, rows = header
        data, marks = self.descriptors(self.place.part(name, size, mtime_ns), size)
        at = 0
        for (offset, length, zeros), digest in zip(rows, digests):  # noqa: B905  (Python 3.8)
            content = memoryview(bytes(length)) if zeros else contents[at : at + length]
            at += 0 if zeros else length
            leaves = leaves_of(content)
            wrong = len(content) != length or offset < 0 or offset + length > size
            if wrong or digest_of_leaves(leaves) != digest:
                return f"{name}: what came is not what was sent"
            if not zeros or holds_data(data, offset, length):
                write_at(data, content, offset)
            if not offset % LEAF_BYTES and (not length % LEAF_BYTES or offset + length == size):
                os.pwrite(marks, leaves, offset // LEAF_BYTES * HASH_BYTES)
        return ""

    def descriptors(self, path: str, size: int) -> tuple[int, int]:
        """A part and its leaves, open."""
        if path in self.open and not os.fstat(self.open[path][1]).st_nlink:
            self.let_go(path)  # sealed meanwhile, over another line
        if path not in self.open:
            if len(self.open) >= OPEN_PARTS:
                self.let_go(next(iter(self.open)))
            data, marks = (os.open(path + end, os.O_RDWR | os.O_CREAT, 0o600) for end in ("", ".leaves"))
            self.open[path] = (data, marks)
            if os.fstat(data).st_size != size:
                os.ftruncate(data, size)
        return self.open[path]

    def seal(self, row: Json, digest: bytes) -> str:
        """Check a large file as a whole and put it with the others; what was cloned is hashed now."""
        name, size, mtime_ns, mode = row
        path = self.place.part(name, size, mtime_ns)
        line = [name, "f", size, mtime_ns, mode, "", digest.hex()]
        target = self.path_of(name)
        if os.path.lexists(target) and self.place.staged_rows().get(name, [])[:7] == line:
            return ""  # done before, but the line broke before the answer was through, or it brought a part once more
        data, marks = self.descriptors(path, size)
        if digest_of_leaves(all_leaves(data, marks, size)) != digest:
            self.let_go(path)
            os.unlink(f"{path}.leaves")
            return f"{name}: what came together is not what was sent"
        fcntl.flock(self.gate, fcntl.LOCK_EX)  # no line that is dead for the laptop writes to it any more
        os.fchmod(data, mode)
        line += set_mtime(data, mtime_ns)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(target)  # or the line would be told of another content of that size and time
        # The line comes first: with the file in its place and no line it would seem never to have come.
        self.note(f"{json.dumps(line)}\n")
        put(path, target)
        self.let_go(path)
        os.unlink(f"{path}.leaves")
        return ""

    def let_go(self, path: str) -> None:
        """Close a part."""
        for descriptor in self.open.pop(path):
            os.close(descriptor)

    def close(self) -> None:
        """Close everything."""
        for path in list(self.open):
            self.let_go(path)
        os.close(self.rows)
        os.close(self.gate)


def put(partial: str, path: str) -> None:
    """Have a staged file take its place in the stage, where an earlier transfer may have had a folder."""
    try:
        os.rename(partial, path)
    except IsADirectoryError:
        shutil.rmtree(path)
        os.rename(partial, path)


def clear_way(tree: str, name: str) -> None:
    """Remove files of an earlier transfer that lie where now the folders of `name` belong."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        path = "/".join([tree, *parts[:count]])
        if os.path.lexists(path) and not is_folder(path):
            os.unlink(path)


def with_room(error: OSError, place: Place, need_bytes: int) -> OSError:
    """The error, which tells of a full disk how full it is."""
    if error.errno not in FULL:
        return error
    room = f"{need_bytes / 1e6:.1f} MB were to come, {free_bytes(place.root) / 1e6:.1f} MB are free"
    return OSError(error.errno, f"{error.strerror}: {room}", error.filename or "the disk")


def holds_data(descriptor: int, offset: int, length: int) -> bool:
    """Whether something was written there: a clone that was cut off leaves what may not stay where zeros belong."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) < offset + length
    except OSError as error:
        return error.errno != errno.ENXIO  # a file system that does not tell is not believed


def write_whole(descriptor: int, content: memoryview) -> None:
    """Write all of it, in one call as a rule."""
    while content:
        content = content[os.write(descriptor, content) :]


def write_at(descriptor: int, content: memoryview, offset: int) -> None:
    """Write all of it at its place."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def all_leaves(data: int, marks: int, size: int) -> bytes:
    """The leaves of a part; those that no range brought are computed, by several threads."""
    count = leaf_count(size)
    leaves = bytearray(os.pread(marks, count * HASH_BYTES, 0).ljust(count * HASH_BYTES, b"\0"))
    step = COPY_BYTES // LEAF_BYTES

    def fill(first: int) -> None:
        many = min(step, count - first)
        if leaves.find(MISSING, first * HASH_BYTES, (first + many) * HASH_BYTES) < 0:
            return
        content = os.pread(data, many * LEAF_BYTES, first * LEAF_BYTES)
        fresh = leaves_of(content[: size - first * LEAF_BYTES])
        for number in range(many):
            at = (first + number) * HASH_BYTES
            if leaves[at : at + HASH_BYTES] == MISSING:
                leaves[at : at + HASH_BYTES] = fresh[number * HASH_BYTES : (number + 1) * HASH_BYTES]

    in_threads(fill, range(0, count, step), os.cpu_count() or 1)
    return bytes(leaves)


# --- what is there already ------------------------------------------------------------------------------------------


def copies(_wire: Wire, request: Json) -> Json:
    """Make files of contents that this machine has: [source, name, size, mtime_ns, mode, digest, whether it moves].

    A source is a name in the folder or the stage, or `{"store": NAME}`. Each is hashed; those that turn out otherwise
    are answered as `bad`.
    """
    place = Place(at_home(request["root"]))
    place.open_stage()
    intake = Intake(place)
    bad = []

    def copy(item: Json) -> None:
        try:
            if not copy_one(place, intake, item):
                bad.append(item[1])
        except OSError as error:
            if error.errno in FULL:
                raise with_room(error, place, item[2]) from None
            bad.append(item[1])

    try:
        in_threads(copy, request["items"], os.cpu_count() or 1)
    finally:
        intake.close()
    return {"bad": bad}


def copy_one(place: Place, intake: Intake, item: Json) -> bool:
    """One of them; `False` where no source holds the content."""
    return any(copy_from(place, intake, origin, item) for origin in sources_of(place, item[0]))


def copy_from(place: Place, intake: Intake, origin: str, item: Json) -> bool:
    """One of them from that source; `False` where it does not hold the content."""
    _, name, size, mtime_ns, mode, digest, moves = item
    descriptor = open_file(origin)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return False
        target = intake.path_of(name)
        partial = f"{place.parts}/{part_key(name, size, mtime_ns)}.{os.getpid()}.copy"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        linked = moves and found.st_mtime_ns == mtime_ns and found.st_mode & 0o777 == mode
        if linked:
            os.link(origin, partial)
        if copied_digest(descriptor, "" if linked else partial, size, mode).hex() != digest:
            os.unlink(partial)
            return False
        real_ns: list[int] = []
        if not linked:
            os.chmod(partial, mode)
            real_ns = set_mtime(partial, mtime_ns)
        line = json.dumps([name, "f", size, mtime_ns, mode, "", digest, *real_ns]) + "\n"
        with sole(place, fcntl.LOCK_SH):
            put(partial, target)
            intake.note(line)
    finally:
        os.close(descriptor)
    return True


def sources_of(place: Place, source: Json) -> list[str]:
    """The paths where a source's content may lie: a name may be that of an old file in place and of a new one."""
    if isinstance(source, dict):
        return [path for _, path in stored(source["store"])]
    return [path for path in (below(place.root, source), below(place.tree, source)) if os.path.isfile(path)]


def copied_digest(descriptor: int, target: str, size: int, mode: int) -> bytes:
    """The digest of an open file, which is copied to `target` on the way where that is given."""
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode | 0o600) if target else -1
    found: list[bytes] = []
    offset = 0
    try:
        while offset < size or not found:
            block = os.pread(descriptor, min(COPY_BYTES, size - offset), offset)
            found.append(leaves_of(block))
            offset += len(block)
            if copy >= 0:
                write_whole(copy, memoryview(block))
            if not block:
                break
    finally:
        if copy >= 0:
            os.close(copy)
    return digest_of_leaves(b"".join(found))


def clone(_wire: Wire, request: Json) -> Json:
    """Begin a large file with ranges [to, from, length] of one that lies in the folder; what differs comes after."""
    place = Place(at_home(request["root"]))
    place.open_stage()
    name, size, mtime_ns = request["name"], request["size"], request["mtime_ns"]
    path = place.part(name, size, mtime_ns)
    base = open_file(below(place.root, request["base"]))
    part = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(part, size)
        for to, start, length in request["copies"]:
            copy_range(base, part, to, start, length)
        forget_leaves(f"{path}.leaves", request["copies"])
    finally:
        os.close(base)
        os.close(part)
    return {}


def forget_leaves(path: str, copies: list[list[int]]) -> None:
    """What was copied over a part is no longer what an earlier transfer had verified."""
    if os.path.exists(path):
        with open(path, "r+b") as file:
            for to, _, length in copies:
                first, end = to // LEAF_BYTES, leaf_count(to + length)
                file.seek(first * HASH_BYTES)
                file.write(MISSING * (end - first))


def leaves(_wire: Wire, request: Json) -> Json:
    """The leaves of a file, so that the laptop can tell what of it is still good."""
    descriptor = open_file(below(at_home(request["root"]), request["name"]))
    try:
        size = os.fstat(descriptor).st_size
        found: list[bytes] = [b""] * (size // COPY_BYTES + 1)

        def hash_block(number: int) -> None:
            found[number] = leaves_of(os.pread(descriptor, COPY_BYTES, number * COPY_BYTES))

        in_threads(hash_block, range(max(1, -(-size // COPY_BYTES))), os.cpu_count() or 1)
    finally:
        os.close(descriptor)
    return {"leaves": base64.b64encode(b"".join(found)).decode("ascii")}


def grains(_wire: Wire, request: Json) -> Json:
    """The grains of ranges [offset, length] of a file, one after the other."""
    descriptor = open_file(below(at_home(request["root"]), request["name"]))
    found: dict[int, bytes] = {}

    def hash_range(numbered: tuple[int, list[int]]) -> None:
        number, (offset, length) = numbered
        found[number] = grains_of(os.pread(descriptor, length, offset))

    try:
        in_threads(hash_range, enumerate(request["ranges"]), os.cpu_count() or 1)
    finally:
        os.close(descriptor)
    whole = b"".join(found[number] for number in range(len(request["ranges"])))
    return {"grains": base64.b64encode(whole).decode("ascii")}


def copy_range(base: int, part: int, to: int, start: int, length: int) -> None:
    """Copy within the machine, by reference where the file system can."""
    while length > 0:
        try:
            done = os.copy_file_range(base, part, min(length, 1 << 30), start, to)
        except (OSError, AttributeError):
            block = os.pread(base, min(length, COPY_BYTES), start)
            write_at(part, memoryview(block), to)
            done = len(block)
        if not done:
            return
        to, start, length = to + done, start + done, length - done


# --- the update as a whole ------------------------------------------------------------------------------------------


def commit(_wire: Wire, request: Json) -> Json:
    """Put everything in place, if it comes to what the laptop has: `expect` is the digest of all its lines.

    Beside the staged files: `delete` names, `folders` [name, mode], `links` [name, target], and `meta` [name, mtime_ns,
    mode] of files whose content stays. What the job wrote there itself is left alone.
    """
    place = Place(at_home(request["root"]))
    with sole(place):
        finish(place)
        if job_runs_in(place.root):
            raise Refusal("the job is running in the folder that would change under it")
        place.open_stage()
        journal, items = journal_of(place, request)
        if contents_digest(items) != request["expect"]:
            return {"committed": False}
        check_ways(place, journal, items)
        check_paths(place, journal)
        digest = state_digest(line_of(item) for item in items)
        write_atomically(place.new_record, json.dumps({"digest": digest, "items": items}))
        write_atomically(place.journal, json.dumps(journal))
        finish(place)
    return {"committed": True}


def journal_of(place: Place, request: Json) -> tuple[Json, list[Json]]:
    """All that is to be done, and the record's lines as they will be."""
    items = {item[0]: item for item in place.items()}
    for name in request["delete"]:
        items.pop(name, None)
    rows = place.staged_rows()
    if "files" in request:
        wanted = set(request["files"])
        rows = {name: row for name, row in rows.items() if name in wanted}
        keep_only(place.tree, rows)
    items.update(rows)
    for name, mode in request["folders"]:
        items[name] = [name, "d", 0, 0, mode, "", ""]
    for name, target in request["links"]:
        items[name] = [name, "l", 0, 0, 0, target, ""]
    if request["meta"]:
        probe = os.open(f"{place.parts}/time", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for name, mtime_ns, mode in request["meta"]:
                if name in items:
                    items[name] = [*items[name][:3], mtime_ns, mode, *items[name][5:7], *set_mtime(probe, mtime_ns)]
        finally:
            os.close(probe)
    whole = {key: request[key] for key in ("delete", "folders", "links", "meta")}
    return dict(whole, files=sorted(rows)), [items[name] for name in sorted(items)]


def keep_only(tree: str, names: Collection[str]) -> None:
    """Remove what else earlier transfers have left, and the folders that are empty then."""
    for folder, _, files in os.walk(tree, topdown=False):
        for file in files:
            path = f"{folder}/{file}"
            if path[len(tree) + 1 :] not in names:
                os.unlink(path)
        if folder != tree:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def check_ways(place: Place, journal: Json, items: list[Json]) -> None:
    """Refuse what could not be finished: a folder of the job's in a file's place, or a link of its in the way."""
    gone = set(journal["delete"])
    for name in [*journal["files"], *(link[0] for link in journal["links"])]:
        path = below(place.root, name)
        if os.path.isdir(path) and not os.path.islink(path) and name not in gone:
            raise Refusal(f"{name} is a folder there, which the job made: a file cannot take its place")
        below_it = [other for other in os.listdir(path) if f"{name}/{other}" not in gone] if is_folder(path) else []
        if below_it:
            raise Refusal(f"{name} is a folder there that holds what the job wrote: a file cannot take its place")
    new = {folder[0] for folder in journal["folders"]}
    for folder in new | {item[0].rpartition("/")[0] for item in items if "/" in item[0]}:
        path = f"{place.root}/{folder}"
        if os.path.lexists(path) and not is_folder(path) and folder not in gone:
            raise Refusal(f"{folder} is no folder there: the job put something else in its place")


def check_paths(place: Place, journal: Json) -> None:
    """Refuse what the disk would: paths too long, folders that cannot be written to, or that lie on another disk."""
    links = journal["links"]
    named = [row[0] for key in ("folders", "links", "meta") for row in journal[key]]
    looked: set[str] = set()
    device = os.stat(place.stage).st_dev
    for name in [*journal["files"], *journal["delete"], *named]:
        path = below(place.root, name)
        require_short(path)
        folder = path.rpartition("/")[0]
        while folder not in looked and not os.path.lexists(folder):
            looked.add(folder)
            folder = folder.rpartition("/")[0]
        if folder in looked:
            continue
        looked.add(folder)
        if is_folder(folder) and not os.access(folder, os.W_OK | os.X_OK):
            raise Refusal(f"{folder} cannot be written to: chmod u+rwx it, or delete it")
        if is_folder(folder) and folder.startswith(place.root) and os.stat(folder).st_dev != device:
            raise Refusal(f"{folder} lies on another disk than {place.stage}: nothing can be moved there")
    for name, target in links:
        if not target or "\0" in target:
            raise Refusal(f"{name} is a link to {target!r}, which is no path")
    if links:
        name, target = max(links, key=lambda link: len(os.fsencode(link[1])))
        try:
            put_link(place, f"{place.tree}.link", target)  # how long one may be is the file system's
        except OSError as error:
            raise Refusal(f"{name} cannot be linked to {target}: {error.strerror}") from None


def require_short(path: str) -> None:
    """Refuse a path that no file system takes."""
    encoded = os.fsencode(path)
    if len(encoded) >= PATH_BYTES or max(map(len, encoded.split(b"/"))) > NAME_BYTES:
        raise Refusal(f"{path} is too long for the machine's disk")


def is_folder(path: str) -> bool:
    """Whether a real folder lies there, and no link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def settle(root: str) -> None:
    """Finish an update that was decided and cut off; refuses a folder where one was given up."""
    place = Place(root)
    if os.path.exists(place.journal):
        with sole(place):
            finish(place)
    if place.is_half():
        raise Refusal(f"{root} holds half of an update that could not be finished: it must be sent again")


@contextlib.contextmanager
def settled(root: str) -> Iterator[None]:
    """Nothing is half done there, and nothing is put in place meanwhile; refuses where `settle` does."""
    place = Place(root)
    while True:
        settle(root)
        with sole(place, fcntl.LOCK_SH):
            if not os.path.exists(place.journal):  # of one that came between the two
                yield
                return


def settle_or_forget(place: Place) -> str:
    """Finish an update that was cut off, or give it up where that cannot be: says why, if so. An upload follows."""
    if not os.path.exists(place.journal):
        return ""
    with sole(place):
        return finish_or_forget(place)


def finish_or_forget(place: Place) -> str:
    """Finish an update, or have the next upload send anew what the update would have changed; says why, if so."""
    try:
        finish(place)
    except (OSError, ValueError, OverflowError, LookupError, TypeError, Refusal) as error:
        forget(place)
        return f"{type(error).__name__}: {error}"
    return ""


def forget(place: Place) -> None:
    """Give up an update that is done in part: what it may have changed counts as unknown, and no job starts there."""
    items = {item[0]: item for item in place.items()}
    touched = list(items)
    with contextlib.suppress(ValueError, LookupError, TypeError):
        new: Json = read_json(place.new_record) or {"items": []}
        items = {**{item[0]: item for item in new["items"]}, **items}
        journal: Json = read_json(place.journal)
        touched = [*journal["files"], *(row[0] for row in journal["meta"])]
    for name in touched:
        if name in items and items[name][1] == "f":
            items[name] = [name, "f", -1, 0, 0, "", ""]
    for name, item in items.items():
        now = present(place.root, item)
        if now and now[1] in {"d", "l"}:
            items[name] = [*now, ""]  # as the laptop is told of it, which then orders no more than what differs
    text = json.dumps({"half": True, "digest": "", "items": [items[name] for name in sorted(items)]})
    try:
        write_atomically(place.record, text)
    except OSError:  # the disk is full; what is written now frees more than it takes
        shutil.rmtree(place.tree, ignore_errors=True)
        write_atomically(place.record, text)
    os.unlink(place.journal)
    shutil.rmtree(place.stage, ignore_errors=True)


def finish(place: Place) -> None:
    """Do what the journal says, as often as it takes."""
    journal = read_json(place.journal)
    if journal is None:
        return
    remove_all(place, journal)
    if not move_whole(place):
        move_each(place, journal["files"])
    for name, _ in journal["folders"]:
        os.makedirs(below(place.root, name), exist_ok=True)
    for name, target in journal["links"]:
        put_link(place, below(place.root, name), target)
    for name, mtime_ns, mode in journal["meta"]:
        path = below(place.root, name)
        with contextlib.suppress(FileNotFoundError):  # which the next upload finds out
            os.chmod(path, mode)
            os.utime(path, ns=(mtime_ns, mtime_ns))
    for name, mode in journal["folders"]:
        os.chmod(below(place.root, name), mode | OWNER)
    with contextlib.suppress(FileNotFoundError):  # moved before the cut
        os.replace(place.new_record, place.record)
    os.unlink(place.journal)
    shutil.rmtree(place.stage, ignore_errors=True)


def move_whole(place: Place) -> bool:
    """Where nothing lies yet the tree appears in one step."""
    if os.path.isdir(place.root):
        with contextlib.suppress(OSError):
            os.rmdir(place.root)
    if os.path.lexists(place.root):
        return False
    try:
        os.rename(place.tree, place.root)
    except FileNotFoundError:
        os.makedirs(place.root, exist_ok=True)
    return True


def move_each(place: Place, names: list[str]) -> None:
    """Put staged files over the old ones, one rename each."""
    made: set[str] = set()
    for name in names:
        path = below(place.root, name)
        folder = path.rpartition("/")[0]
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        with contextlib.suppress(FileNotFoundError):  # moved before the cut
            os.replace(f"{place.tree}/{name}", path)


def put_link(place: Place, path: str, target: str) -> None:
    """Have a symbolic link there, in one step."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place.link)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, place.link)
    os.replace(place.link, path)


def remove_all(place: Place, journal: Json) -> None:
    """Remove what vanished; what replaces it under its name is not taken for it when this is done again.

    Nor is what lies behind a link that has taken a folder's place.
    """
    replaced = {*journal["files"], *(link[0] for link in journal["links"])}
    kept = {folder[0] for folder in journal["folders"]}
    real = os.path.realpath(place.root)
    straight: dict[str, bool] = {}
    for name in sorted(journal["delete"], reverse=True):
        path, folder = below(place.root, name), name.rpartition("/")[0]
        if folder not in straight:
            straight[folder] = os.path.realpath(f"{real}/{folder}") == f"{real}/{folder}".rstrip("/")
        if straight[folder] and name not in (kept if is_folder(path) else replaced):
            remove(path)


def drop(_wire: Wire, request: Json) -> Json:
    """Forget what is staged there."""
    place = Place(at_home(request["root"]))
    with sole(place):
        failed = finish_or_forget(place)
        shutil.rmtree(place.stage, ignore_errors=True)
    return {"failed": failed} if failed else {}


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
