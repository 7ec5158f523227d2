"""Ships a job's checkpoints, results and log to the store by itself, beside the supervisor, with no credentials.

What is shipped is a generation: a manifest that names the contents of every file, written when all of those are there.
The checkpoint folder in it is as it was at one moment; output and log are at least as new. `launcher.aws.durable` reads
it. The machine cannot list what is there, nor delete: manifests go round a few slots, contents are named by `objects`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import time
from typing import TYPE_CHECKING

from .files import in_threads, write_atomically
from .grant import granted, version
from .job import locked, report_of, run_paths
from .objects import Objects
from .post import MAX_OBJECT_BYTES, Altered, Refused, Store, Unreachable
from .shiplog import open_log
from .shipped import shipped_path
from .snapshot import Changing, Chunk, Snapshot, blocks_of, look, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .outgo import Row
    from .shiplog import Log
    from .wire import Json

    Files = dict[str, list[Chunk]]

FORMAT = 1
LOOK_EVERY_S = 1.0
LOOK_SHARE = 20
"""A large folder is looked at no more than a twentieth of the time: the disk and the processors are the job's."""
REST_EVERY_S = 30.0
"""How often output and log are looked at for themselves; with a checkpoint they go at once."""
CHUNK_BYTES = 64 << 20
SLOTS = 8
"""Manifests that a machine leaves there; the newest is the one with the highest number."""
THREADS = 8
PATIENCE = 5
"""So often an output that its job's leftovers go on writing to is looked at again; then it goes as it is."""
AGAIN_S = {"refused": 60.0, "unreachable": 5.0, "changing": 0.2, "disk": 10.0}
TICK_S = 1.0
"""A file that was written so lately may change and keep its time."""
KEY_LIMIT_BYTES = 900
OVER = ("done", "lost")


def ship(run: str) -> None:
    """Ship until the job is over and all of it is there."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(BlockingIOError), locked(f"{run}/ship.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
        shipper = Shipper(run)
        signal.signal(signal.SIGTERM, shipper.leave)
        shipper.work()


class Shipper:
    """One machine's shipping of one run."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.paths = run_paths(run)
        self.objects = Objects(f"{run}/ship.state")
        self.bell: int | None = 0
        """Closes when the job is over or its supervisor dead."""
        self.checkpoint: list[Row] | None = None
        """As it was shipped last."""
        self.rest: Json = None
        self.rest_due = 0.0
        self.look_s = 0.0
        """How long the last look took."""
        self.failing_since: float | None = None
        self.leaving = False
        """The machine is being shut down: what can still go, goes."""
        self.tries = 0
        self.left_out: list[str] = []
        """Of the last generation."""
        self.hashed: dict[tuple[int, int, int, int], list[Chunk]] = {}

    def work(self) -> None:
        """Ship what changes, then what there is at the end."""
        while True:
            state = report_of(self.run)
            over = state["state"] in OVER
            grant = version(self.run)
            problem = self.ship_and_tell(state, over) if over or self.changed() else ""
            if over and (not problem or self.leaving):
                return
            self.wait(AGAIN_S.get(problem, max(LOOK_EVERY_S, LOOK_SHARE * self.look_s)), grant)

    def leave(self, _signal: int, _frame: object) -> None:
        """Note that there is not much time."""
        self.leaving = True

    def changed(self) -> bool:
        """Whether there is another checkpoint, or another output or log that is due."""
        began = time.monotonic()
        new = self.checkpoint is None or look(self.paths["checkpoint"], []) != self.checkpoint
        self.look_s = time.monotonic() - began
        if new or time.monotonic() < self.rest_due:
            return new
        began = time.monotonic()
        new = bool(self.look_at_rest() != self.rest)
        rest_s = time.monotonic() - began
        self.rest_due = time.monotonic() + max(REST_EVERY_S, LOOK_SHARE * rest_s)
        return new

    def look_at_rest(self) -> Json:
        """What becomes another value whenever output or log change."""
        log = os.stat(self.paths["log"]) if os.path.exists(self.paths["log"]) else None
        return [look(self.paths["output"], []), log and [log.st_size, log.st_ino]]

    def wait(self, pause_s: float, grant: tuple[int, int]) -> None:
        """Wait for so long, or until the bell rings or another grant has come."""
        until = time.monotonic() + pause_s
        while version(self.run) == grant:
            left_s = min(until - time.monotonic(), LOOK_EVERY_S)
            if left_s <= 0:
                return
            if self.bell is None:
                time.sleep(left_s)  # nobody is there any more who could say something
            elif select.select([self.bell], [], [], left_s)[0]:
                self.bell = None
                return
            if self.leaving:
                return

    # --- one generation ---------------------------------------------------------------------------------------------

    def ship_and_tell(self, state: Json, over: bool) -> str:
        """Ship a generation and write down how that went; gives the kind of problem, if any."""
        try:
            self.ship(state, over)
        except Refused as error:
            return self.failed("refused", str(error))
        except Unreachable as error:
            return self.failed("unreachable", str(error))
        except (Altered, Changing) as error:
            self.tries += 1
            return self.failed("changing", f"the files change while they are read: {error}")
        except OSError as error:
            return self.failed("disk", f"{error.filename or 'the machine'}: {error.strerror}")
        self.tries, self.failing_since = 0, None
        self.tell("unreadable" if self.left_out else "", told_of(self.left_out))
        return ""

    def failed(self, kind: str, text: str) -> str:
        """Note a failure for the supervisor and the launcher."""
        if self.failing_since is None:
            self.failing_since = time.time()
        self.tell(kind, text)
        return kind

    def tell(self, kind: str, text: str) -> None:
        """Write down what is there, and what is in the way."""
        shipped = self.objects.shipped or {
            "generation": 0,
            "segment": 0,
            "at": None,
            "files": 0,
            "size_bytes": 0,
            "final": False,
        }
        told = {**shipped, "error_kind": kind, "error": text, "failing_since": self.failing_since}
        with contextlib.suppress(OSError):  # a disk that is full
            write_atomically(shipped_path(self.run), json.dumps(told))

    def ship(self, state: Json, over: bool) -> None:
        """Ship one generation, whole or not at all."""
        grant = granted(self.run)
        if grant is None:
            raise Refused("no permission to write there has come from the launcher yet")
        at, rest = time.time(), self.look_at_rest()
        with contextlib.ExitStack() as held:
            store = Store(grant)
            held.callback(store.close)
            checkpoint = Snapshot(self.paths["checkpoint"], strict=True)
            held.callback(checkpoint.close)
            output = Snapshot(self.paths["output"], strict=over and self.tries < PATIENCE)
            held.callback(output.close)
            log = held.enter_context(open_log(self.paths["log"], f"{self.run}/log.base", self.objects.log))
            manifest = {
                "format": FORMAT,
                "run": os.path.basename(self.run),
                "segment": int(grant["segment"]),
                "at": at,
                "final": over,
                "job": {name: state.get(name) for name in ("state", "exit_status", "ended_by")},
            }
            needed = self.ship_contents(store, manifest, checkpoint, output, log)
            checkpoint.check()
            output.check()
            manifest["number"] = self.objects.begin()
            send_manifest(store, manifest)
        self.objects.log = log.sent()
        self.objects.commit(needed, summary_of(manifest))
        self.checkpoint, self.rest = checkpoint.seen, rest
        self.left_out = [*checkpoint.unreadable(), *output.unreadable()]
        alive = {(row[6], row[2], row[3]) for row in [*checkpoint.rows, *output.rows]}
        self.hashed = {key: chunks for key, chunks in self.hashed.items() if key[:3] in alive}
        self.rest_due = time.monotonic() + REST_EVERY_S

    def ship_contents(self, store: Store, manifest: Json, checkpoint: Snapshot, output: Snapshot, log: Log) -> set[str]:
        """Send what is not there, and say in the manifest where everything lies; gives the digests of what is shared.

        At the end results are objects of their own. But a machine whose run goes on elsewhere does not write where
        the next one's will be.
        """
        final = manifest["final"] and manifest["job"]["ended_by"] not in ("interruption", "shutdown")
        plain = {row[0] for row in output.rows if row[1] == "f" and is_plain(row)} if final else set()
        saved, made = self.chunks_of(checkpoint, set()), self.chunks_of(output, plain)
        shared = [chunk for chunks in saved.values() for chunk in chunks]
        shared += [chunk for name, chunks in made.items() if name not in plain for chunk in chunks]
        self.send(store, manifest["segment"], [*shared, *log.new])
        self.send_results(store, {f"results/{name}": made[name][0] for name in plain})
        manifest["checkpoint"] = self.entries(checkpoint, saved, set())
        manifest["output"] = self.entries(output, made, plain)
        lines = [[offset, *self.there(sha256, size)] for offset, size, sha256 in log.lines]
        manifest["log"] = {"base": log.base, "chunks": lines}
        return {chunk.sha256 for chunk in shared} | {line[2] for line in lines}

    def entries(self, folder: Snapshot, files: Files, plain: set[str]) -> list[Json]:
        """The manifest's lines of a folder: [name, kind, size, mtime_ns, mode, link target, contents]."""
        found = []
        for row in folder.rows:
            name, kind, size, mtime_ns, mode, target, _ = row
            chunks = [self.there(chunk.sha256, chunk.size) for chunk in files.get(name, [])]
            if name in plain:
                chunks[0][0] = f"results/{name}"
            found.append([name, kind, size, mtime_ns, mode, target, chunks])
        return found

    def there(self, sha256: str, size: int) -> Json:
        """Where a content lies, and what to check it against: [object, sha256, size]."""
        return [self.objects.known(sha256), sha256, size]

    # --- contents ---------------------------------------------------------------------------------------------------

    def chunks_of(self, folder: Snapshot, whole: set[str]) -> Files:
        """What each file holds, those of `whole` in one piece; a file that is as it was is not read again."""
        found: Files = {}

        def digest(row: Row) -> None:
            file, step = folder.files[row[0]], MAX_OBJECT_BYTES if row[0] in whole else CHUNK_BYTES
            key = (row[6], row[2], row[3], step)
            chunks = self.hashed.get(key)
            if chunks is None:
                read_at = time.time()
                chunks = stretches_of(file, row[2], step)
                if read_at - row[3] / 1e9 > TICK_S:
                    self.hashed[key] = chunks
            found[row[0]] = [chunk._replace(file=file) for chunk in chunks]

        in_threads(digest, [row for row in folder.rows if row[1] == "f"], THREADS)
        return found

    def send(self, store: Store, segment: int, chunks: Iterable[Chunk]) -> None:
        """Have every content there under some name, each once."""
        new = {chunk.sha256: chunk for chunk in chunks if self.objects.known(chunk.sha256) is None}
        names = self.objects.claim(segment, len(new)) if new else []

        def send_one(item: Json) -> None:
            name, chunk = item
            store.put(name, lambda: blocks_of(chunk.file, chunk.offset, chunk.size), chunk.size, chunk.sha256)
            self.objects.sent(chunk.sha256, name)

        in_threads(send_one, zip(names, new.values()), THREADS)  # noqa: B905  (`strict` came with 3.10)

    def send_results(self, store: Store, wanted: dict[str, Chunk]) -> None:
        """Files as objects of their own, for people and other tools."""

        def send_one(item: Json) -> None:
            key, chunk = item
            store.put(key, lambda: blocks_of(chunk.file, 0, chunk.size), chunk.size, chunk.sha256)
            self.objects.results[key] = chunk.sha256

        there = self.objects.results
        in_threads(send_one, [item for item in wanted.items() if there.get(item[0]) != item[1].sha256], THREADS)


def stretches_of(file: int, size: int, step: int) -> list[Chunk]:
    """The digests of a file, stretch by stretch; an empty one has one that is empty."""
    offsets = range(0, size, step) if size else [0]
    return [Chunk(file, at, min(step, size - at), sha256_of(file, at, min(step, size - at))) for at in offsets]


def send_manifest(store: Store, manifest: Json) -> None:
    """Make a generation appear."""
    text = json.dumps(manifest, separators=(",", ":")).encode("ascii")
    place = f"generations/{manifest['segment']:04d}-{manifest['number'] % SLOTS}.json"
    store.put(place, lambda: iter([text]), len(text), hashlib.sha256(text).hexdigest())


def summary_of(manifest: Json) -> Json:
    """What to tell of a generation."""
    sizes = [row[2] for row in [*manifest["checkpoint"], *manifest["output"]] if row[1] == "f"]
    about = {name: manifest[name] for name in ("segment", "at", "final")}
    return {"generation": manifest["number"], **about, "files": len(sizes), "size_bytes": sum(sizes)}


def told_of(left_out: list[str]) -> str:
    """What is left out, in a line."""
    more = len(left_out) - 1
    return "".join(left_out[:1]) + (f", and {more} more" if more > 0 else "")


def is_plain(row: Row) -> bool:
    """Whether a file can be an object under its own name: one that a form can say, and that S3 takes as it is."""
    name = row[0]
    try:
        short = len(name.encode("utf-8")) <= KEY_LIMIT_BYTES
    except UnicodeEncodeError:
        return False
    return short and name.isprintable() and "${" not in name and row[2] <= MAX_OBJECT_BYTES
