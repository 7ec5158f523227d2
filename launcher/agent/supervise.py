"""The job's parent, which outlives every disconnect.

It starts the job in its own session, passes signals on, keeps the deadlines, hears of the machine's end, records how
the job ended and what it used, and powers a machine off that nobody holds a lease on any more.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from . import checkpoint
from .clock import now_s
from .contract import start_job
from .files import read_json, write_atomically
from .groups import end_group, kill_session, signal_group
from .job import ENDINGS, REPLANNED, run_paths, started_ticks
from .power import power_off
from .shipping import Shipping
from .usage import oom_kills, usage_of
from .wire import BLOCK_BYTES, Json

if TYPE_CHECKING:
    from types import FrameType

CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, REPLANNED, *ENDINGS)
LOOK_S = 30.0
"""The longest pause: a machine that slept has not counted it as waiting."""
RETRY_S = 60.0
"""Between two attempts to power the machine off."""
RELEASE_POLL_S = 5.0
SPARE_BYTES = 4096
"""Kept on the disk: how the job ended must be written even where the job has filled it."""
NOTICE_SHARE = 0.5
"""Of a notice too short for the whole reserve, what the job may still use."""
LAST_CALL_S = 5.0
"""Before the machine's end, whatever the launcher has asked for."""


def supervise(run: str) -> None:
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
        if order["notices"]:
            supervisor.watch()
        supervisor.wait()
        if order["owned"] and not supervisor.leaving:
            supervisor.hold_machine()


def read_all(descriptor: int) -> bytes:
    """Read to the end."""
    found = bytearray()
    while True:
        block = os.read(descriptor, BLOCK_BYTES)
        if not block:
            return bytes(found)
        found += block


class Supervisor:
    """The job's parent. Moments in seconds of `clock.now_s`."""

    def __init__(self, run: str, order: Json) -> None:
        self.run = run
        self.paths = run_paths(run)
        self.order = order
        self.state: Json = {"state": "starting", "supervisor": os.getpid()}
        self.written = True
        asked_at = order.get("asked_at") or now_s()
        self.stops: dict[str, float] = {}
        """When the job is to be asked to end, by the reason."""
        if order["deadline_in_s"]:
            self.stops["deadline"] = asked_at + order["deadline_in_s"] - order["grace_s"]
        self.off_at: float | None = None
        """When the machine is powered off, job or no job."""
        if order["owned"] and order["machine_deadline_in_s"]:
            self.off_at = asked_at + order["machine_deadline_in_s"]
        self.kill_at: float | None = None
        self.ends_at: float | None = None
        """When the cloud takes the machine."""
        self.notices: collections.deque[Json] = collections.deque()
        self.shipping = Shipping(run, wanted=bool(order.get("durable")))
        self.job = 0
        self.leaving = False
        self.wakeup, self.waker = catch_signals()

    def start(self) -> None:
        """Start the job in a session and process group of its own."""
        write_atomically(self.paths["state"], json.dumps(self.state))
        with contextlib.suppress(OSError):
            write_atomically(self.paths["spare"], " " * SPARE_BYTES)
        self.ooms = oom_kills()
        self.began = now_s()
        self.job = start_job(self.run, self.order, CAUGHT)
        self.note(state="running", job=self.job, job_started=started_ticks(self.job), started_at=time.time())

    def note(self, **changes: Json) -> None:
        """Write the state down, in one step; what a full disk does not take is written later."""
        self.state.update(changes)
        self.written = self.write_down()
        if not self.written:
            with contextlib.suppress(OSError):
                os.unlink(self.paths["spare"])
            self.written = self.write_down()

    def write_down(self) -> bool:
        """Replace the state's file; whether the disk took it."""
        try:
            write_atomically(self.paths["state"], json.dumps(self.state))
        except OSError:
            return False
        return True

    def watch(self) -> None:
        """Hear of the machine's end; only now, since what is imported for it would count as the job's memory."""
        from .notice import watch  # noqa: PLC0415

        def tell(notice: Json) -> None:
            self.notices.append(notice)
            with contextlib.suppress(BlockingIOError):
                os.write(self.waker, b"\0")

        watch(tell)

    def wait(self) -> None:
        """See the job to its end, and write down how it ended."""
        while True:
            pid, status, used = os.wait4(self.job, os.WNOHANG)
            if pid:
                break
            self.shipping.tend()
            ready = select.select([self.wakeup], [], [], self.pause_s())[0]
            caught = os.read(self.wakeup, 256) if ready else b""
            self.obey(set(caught))
        elapsed_s = now_s() - self.began
        end_group(self.job)
        kill_session(self.job)
        signalled = os.WIFSIGNALED(status)
        exit_status = 128 + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
        self.ended = now_s()
        self.note(
            state="done",
            ended_at=time.time(),
            exit_status=exit_status,
            killed_by_memory=bool(exit_status and "ended_by" not in self.state and oom_kills() > self.ooms),
            usage=usage_of(used, elapsed_s),
        )
        self.shipping.job_ended()

    def pause_s(self) -> float:
        """How long nothing can be due."""
        due = [now_s() + min(LOOK_S if self.written else 1.0, self.shipping.pause_s())]
        if self.kill_at is not None:
            due.append(self.kill_at)
        else:
            due.extend(self.stops.values())
        if self.off_at is not None:
            due.append(self.off_at)
        return max(min(due) - now_s(), 0.0)

    def obey(self, signals: set[int]) -> None:
        """Pass on what was asked for, and what the clock asks for."""
        while self.notices:
            self.hear(self.notices.popleft())
        if REPLANNED in signals:
            self.plan()
        if signals & {signal.SIGTERM, signal.SIGINT}:
            self.leaving = True
            self.terminate("shutdown")
        for number in signals & set(ENDINGS):
            name, why = ENDINGS[number]
            if name == "KILL":
                self.kill(why)
            else:
                self.terminate(why)
        now = now_s()
        for why, at in list(self.stops.items()):
            if now >= at:
                self.terminate(why)
        if self.kill_at is not None and now >= self.kill_at:
            signal_group(self.job, signal.SIGKILL)
            kill_session(self.job)
            self.kill_at = now + 1.0
        self.end_machine_in_time()
        if not self.written:
            self.note()

    def terminate(self, why: str) -> None:
        """Ask the job to save and exit; what remains after the grace is killed."""
        if self.kill_at is None:
            signal_group(self.job, signal.SIGTERM)
            self.kill_at = now_s() + self.order["grace_s"]
            self.note(ended_by=why)

    def kill(self, why: str) -> None:
        """Give the job no time, or no more."""
        self.kill_at = now_s()
        if "ended_by" not in self.state:
            self.note(ended_by=why)

    def hear(self, notice: Json) -> None:
        """Tell of the machine's end; a running job is asked for a checkpoint, and to end while it can still save."""
        known = self.state.get("interruption")
        if known and known["kind"] == "spot" and notice["kind"] != "spot":
            return
        running = self.state["state"] == "running" and self.kill_at is None
        if running:
            checkpoint.ask(self.job)
        self.note(interruption=dict(notice, noticed_at=time.time()))
        if running and notice["ends_at_s"] is not None:
            self.ends_at = notice["ends_at_s"]
            left_s = self.ends_at - now_s()
            self.stops["interruption"] = self.ends_at - min(self.order["stop_reserve_s"], NOTICE_SHARE * left_s)

    def plan(self) -> None:
        """Take the launcher's word for when the job is to end, but leave it time to save."""
        wish = read_json(self.paths["stop"])
        if wish is None:
            return
        at = wish["at_s"]
        if self.ends_at is not None:
            at = min(at, self.ends_at - LAST_CALL_S)
        self.stops[wish["why"]] = at

    def end_machine_in_time(self) -> None:
        """Power the machine off where its own deadline has come, again and again where that fails."""
        if self.off_at is not None and now_s() >= self.off_at:
            power_off()
            self.off_at = now_s() + RETRY_S

    def hold_machine(self) -> None:
        """Wait until nobody holds the machine and its results have had their time, then power it off."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            while self.notices:
                self.hear(self.notices.popleft())
            if not self.written:
                self.note()
            self.shipping.tend()
            left_s = self.held_until() - now_s()
            if left_s <= 0:
                power_off()
            # Files tell of a lease and a release: nothing here could be awaited.
            time.sleep(min(left_s, RELEASE_POLL_S) if left_s > 0 else RETRY_S)

    def held_until(self) -> float:
        """When a finished job's machine may go; its own deadline is the end of all patience."""
        until = self.ended + (self.order["keep_on_failure_s"] if self.state["exit_status"] else 0.0)
        if not os.path.exists(self.paths["released"]):
            patience_s = self.shipping.patience_s(self.order["results_grace_s"])
            if self.state.get("ended_by") == "interruption":
                # EC2 ends it soon: by a power-off it would count as ended by somebody, and its run with it.
                patience_s = max(patience_s, self.order["results_grace_s"])
            until = max(until, max(self.ended, self.lease()) + patience_s)
        return until if self.off_at is None else min(until, self.off_at)

    def lease(self) -> float:
        """Until when somebody holds the machine."""
        try:
            return float(read_json(self.paths["lease"]) or 0.0)
        except ValueError:
            return 0.0


def catch_signals() -> tuple[int, int]:
    """Turn signals into bytes on a pipe; gives its reading end and the other, for what else should wake us."""
    out, into = os.pipe()
    os.set_blocking(into, False)

    def caught(number: int, frame: FrameType | None) -> None:
        """Nothing to do here: the number is on the pipe."""

    for number in CAUGHT:
        signal.signal(number, caught)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(into)
    return out, into
