"""From a notice to the next machine: the job goes on here until its successor is ready there, or time is up."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from launcher import berth, places, provision, respawn
from launcher.attach import until_up
from launcher.aws.refusals import Pool
from launcher.berth import Berth
from launcher.domain import Interruption, Market
from launcher.errors import GpurunError
from launcher.live import LiveRun
from launcher.ports import Lines
from launcher.shipping import Shipper
from launcher.sync import remote_agent

CONNECT_TIMEOUT_S = 60.0
BUY_TIMEOUT_S = 90.0
"""How long an end of the run waits for a launch call that is under way: what it makes must be known."""
MARGIN_S = 10.0
"""Of the time that a last checkpoint is given beyond what the present one took, twice."""


class Handover:
    """One notice answered, in a thread of its own; `berth` gives the machine to go on with."""

    def __init__(
        self, live: LiveRun, lines: Lines, shipper: Shipper, notice: Interruption, boot_timeout_s: float
    ) -> None:
        self._live = live
        self._lines = lines
        self._shipper = shipper
        self._notice = notice
        self._heard = time.monotonic()
        self._boot_timeout_s = boot_timeout_s
        self._cancelled = threading.Event()
        self._buying = threading.Lock()
        self._berth: Berth | None = None
        self._thread = threading.Thread(target=self._serve, name="gpurun-handover", daemon=True)
        self._thread.start()

    def berth(self) -> Berth | None:
        """The next machine, once it is ready; `None` where none could be had in this time."""
        self._thread.join()
        return self._berth

    def cancel(self) -> None:
        """Go no further; returns when a launch call that was under way has been answered and written down."""
        self._cancelled.set()
        if self._buying.acquire(timeout=BUY_TIMEOUT_S):
            self._buying.release()

    def _serve(self) -> None:
        leave = threading.Thread(target=self._say_when_to_leave, name="gpurun-leave", daemon=True)
        leave.start()
        try:
            self._berth = self._made_ready()
        except (GpurunError, OSError) as error:
            text = error.message if isinstance(error, GpurunError) else str(error)
            if not self._cancelled.is_set():
                self._live.reporter.warn(f"no other machine yet: {text.splitlines()[0]}")
            return
        if self._berth is None:
            return
        # The successor waits: every second more here is paid twice.
        with suppress(GpurunError):
            connection = self._lines.control.fresh(CONNECT_TIMEOUT_S)
            remote_agent.signal(connection, self._live.layout, "TERM", why="interruption")

    def _made_ready(self) -> Berth | None:
        live, number = self._live, respawn.following(self._live)
        luggage = berth.luggage(live)
        began = time.monotonic()
        respawn.bury_older(live)  # takes minutes, and is no launch call: whoever cancels does not wait for it
        with self._buying:
            if self._cancelled.is_set():
                return None
            instance = provision.find_or_make(live, number, avoid=frozenset({_pool(live)}))
        began = self._spent("provision", number, began)
        instance = places.of(live).ready(live, instance)
        began = self._spent("boot", number, began)
        lines = places.of(live).lines(live, instance)
        connection = until_up(live, lines.control, instance, self._boot_timeout_s)
        began = self._spent("connect", number, began)
        if self._cancelled.is_set():
            return None
        berth.fill(live, lines, connection, luggage)
        self._spent("sync", number, began)
        return Berth(number=number, instance=instance, lines=lines)

    def _spent(self, phase: str, number: int, began: float) -> float:
        now = time.monotonic()
        self._live.event("successor", segment=number, phase=phase, seconds=round(now - began, 3))
        return now

    def _say_when_to_leave(self) -> None:
        """Give the job all the time that its last checkpoint does not need, by how long the present one takes."""
        if self._notice.ends_in_s is None:
            return
        with suppress(GpurunError, OSError):
            began = time.monotonic()
            self._shipper.ship()
            took_s = time.monotonic() - began
            left_s = self._notice.ends_in_s - (time.monotonic() - self._heard)
            reserve_s = min(MARGIN_S + 2 * took_s, 0.5 * left_s)
            connection = self._lines.control.fresh(CONNECT_TIMEOUT_S)
            remote_agent.stop_in(connection, self._live.layout, max(0.0, left_s - reserve_s))


def _pool(live: LiveRun) -> Pool:
    record = live.record
    return Pool(
        market=Market(record.market or "spot"), instance_type=record.instance_type or "", zone=record.zone or ""
    )
