"""The job's log, from an offset on, as it grows."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib

from .events import Events
from .files import at_home, read_json, write_atomically
from .job import report_of, run_paths, write_lease
from .wire import BLOCK_BYTES, Json, Wire

BUSY_POLL_S = 0.01
IDLE_POLL_S = 0.025
IDLE_AFTER_S = 2.0
HEARTBEAT_S = 4.0
OVER = ("done", "lost")


def follow(wire: Wire, request: Json) -> Json:
    """Send the log from `offset` on as it grows, until the job has ended and all of it is sent.

    What the other side sends meanwhile renews the lease; silence is broken by a heartbeat. With `events`, the machine's
    end and new checkpoints are told between the log's blocks.
    """
    run = at_home(request["run"])
    tail = Tail(wire, run, request["offset"])
    events = Events(wire, run) if request.get("events") else None
    grew = spoke = time.monotonic()
    try:
        if request["once"]:
            tail.stop_at_present_end()
        while True:
            now = time.monotonic()
            sent = tail.send_new()
            # Looked at while there is more to send, too: a job that writes without pause still ends.
            over = tail.ended() or request["once"]
            if events:
                events.tell(tail.report)
            if sent:
                grew = spoke = now
            elif over:
                return {"done": tail.report}
            elif now - spoke > HEARTBEAT_S:
                spoke = now
                wire.send_json({"beat": True})
            pause_s = BUSY_POLL_S if now - grew < IDLE_AFTER_S else IDLE_POLL_S
            wire.wait(0 if tail.behind else pause_s)
            while True:
                frame = wire.buffered()
                if frame is None:
                    break
                with contextlib.suppress(OSError):  # a full disk; the results' grace holds the machine all the same
                    write_lease(run, json.loads(frame[1])["lease_s"])
    finally:
        tail.close()


class Tail:
    """The reading end of a job's log.

    Offsets count from the job's beginning: where the file was emptied, `base` is the offset of its first byte.
    """

    def __init__(self, wire: Wire, run: str, offset: int) -> None:
        self.wire = wire
        self.run = run
        self.paths = run_paths(run)
        self.base_file = f"{run}/log.base"
        self.offset = offset
        self.base = 0
        self.goal: int | None = None
        """Where the log ended when the job did: what its orphans write later would be read for ever."""
        self.behind = False
        self.report: Json = {"state": "absent"}
        self.descriptor = -1
        self.seen: tuple[int, int] | None = None
        self.looked = 0.0

    def send_new(self) -> bool:
        """Send the next block; whether there was one."""
        if self.descriptor < 0 and not self.open():
            return False
        end = self.end()
        if not self.base <= self.offset <= end:
            end = self.begin_anew(end)
        if self.goal is not None:
            end = min(end, self.goal)
        wanted = min(BLOCK_BYTES, end - self.offset)
        block = os.pread(self.descriptor, wanted, self.offset - self.base) if wanted > 0 else b""
        if block:
            self.offset += len(block)
            packed = zlib.compress(block, 1) if len(block) > 1024 else block
            self.wire.send(*((b"d", packed) if len(packed) < len(block) else (b"D", block)))
        self.behind = len(block) == BLOCK_BYTES
        return bool(block)

    def open(self) -> bool:
        """Open the log; whether it is there. It stays open: one that is replaced is read on as it was."""
        with contextlib.suppress(FileNotFoundError):
            self.descriptor = os.open(self.paths["log"], os.O_RDONLY)
            self.base = read_json(self.base_file) or 0
        return self.descriptor >= 0

    def end(self) -> int:
        """The offset of the log's end."""
        return self.base + os.fstat(self.descriptor).st_size

    def begin_anew(self, end: int) -> int:
        """The log was emptied: go on at its new beginning, and tell it. What is gone by then is gone."""
        if self.offset > end:
            self.base = self.offset
            write_atomically(self.base_file, json.dumps(self.base))
        else:
            self.offset = self.base
        self.wire.send_json({"emptied_at": self.base})
        if self.goal is not None:
            self.goal = self.end()
        return self.end()

    def stop_at_present_end(self) -> None:
        """Send what there is now, and nothing that comes."""
        if self.open():
            self.goal = max(self.end(), self.offset)

    def ended(self) -> bool:
        """Whether the job is over and its log sent: looked at when the state changed, and once a second."""
        if self.report["state"] not in OVER:
            self.look()
        if self.report["state"] not in OVER:
            return False
        if self.goal is None:
            self.goal = self.end() if self.descriptor >= 0 or self.open() else 0
        self.report["log_bytes"] = self.goal
        return self.offset >= self.goal

    def look(self) -> None:
        """Read the job's state where there may be another than was read last."""
        try:
            found = os.stat(self.paths["state"])
            seen = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            seen = (0, 0)
        now = time.monotonic()
        if seen != self.seen or now - self.looked >= 1:
            self.seen, self.looked = seen, now
            self.report = report_of(self.run)

    def close(self) -> None:
        """Let go of the log."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
