"""The job's log, from an offset on, as it grows."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib

from .files import at_home
from .job import report_of, run_paths, write_lease
from .wire import BLOCK_BYTES, Json, Refusal, Wire

POLL_S = 0.015
HEARTBEAT_S = 4.0


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
