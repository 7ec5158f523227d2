"""A segment under way: its log followed, its checkpoints brought home, its interruption answered."""

from __future__ import annotations

from launcher import outputs, places
from launcher.berth import Berth
from launcher.domain import Interruption, JobReport
from launcher.errors import HostUnreachable, TransferError
from launcher.follow import follow
from launcher.handover import Handover
from launcher.live import LiveRun
from launcher.ports import Connection
from launcher.shipping import Shipper
from launcher.sync.events import Event


class Underway:
    """What goes on beside the log while a job runs; outlives a Ctrl-C that was answered with keep."""

    def __init__(self, live: LiveRun, *, boot_timeout_s: float, lost_after_s: float) -> None:
        self._live = live
        self._boot_timeout_s = boot_timeout_s
        self._lost_after_s = lost_after_s
        self._shipper: Shipper | None = None
        self._keeper: outputs.Keeper | None = None
        self._handover: Handover | None = None

    def follow(self, connection: Connection) -> JobReport:
        """Follow the present segment's job to its end; raises as `follow.follow` does."""
        live = self._live
        if live.lines is None:
            raise HostUnreachable("no line to the machine", hint=f"gpurun resume {live.run_id}")
        if self._keeper is None:
            self._keeper = outputs.Keeper(live, live.lines)
        if self._shipper is None and live.spec.checkpoint and places.of(live).apart(live):
            self._shipper = Shipper(live, live.lines)
        return follow(live, connection, on_event=self._answer, lost_after_s=self._lost_after_s)

    def ship(self) -> None:
        """Bring the last checkpoint of a job that was stopped home; raises `RemoteError`."""
        if self._shipper is None:
            return
        try:
            self._shipper.ship()
        except OSError as error:
            raise TransferError(
                f"the last checkpoint cannot be written to {self._live.paths.shipments}: {error.strerror}",
                hint=f"make room there, then gpurun resume {self._live.run_id}",
            ) from None

    def leave(self) -> Berth | None:
        """Be done with the present segment; gives the next machine, where there is one ready."""
        self._close_shipper()
        if self._handover is None:
            return None
        berth = self._handover.berth()
        self._handover = None  # only now: a Ctrl-C that comes while it is waited for must still find what to cancel
        return berth

    def close(self) -> None:
        """Be done with the run: nothing is bought any more, nothing comes home any more."""
        if self._handover is not None:
            self._handover.cancel()
        self._close_shipper()

    def _close_shipper(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._shipper is not None:
            self._shipper.close()
            self._shipper = None

    def _answer(self, event: Event) -> None:
        if isinstance(event, Interruption):
            self._answer_notice(event)
        elif self._shipper is not None and event.state:
            self._shipper.changed(event.state)

    def _answer_notice(self, notice: Interruption) -> None:
        live = self._live
        if notice.kind == "rebalance":
            live.event("rebalance")
            live.reporter.note("EC2 expects to take the machine back before long; a checkpoint is asked for")
            return
        if self._handover is not None or live.lines is None:
            return
        left = "" if notice.ends_in_s is None else f" in {notice.ends_in_s:.0f} s"
        live.event("notice", ends_in_s=notice.ends_in_s)
        live.reporter.warn(f"EC2 takes the machine back{left}; the job goes on while another one is made ready")
        if self._shipper is not None and live.record.segment <= live.spec.limits.max_restarts:
            self._handover = Handover(live, live.lines, self._shipper, notice, self._boot_timeout_s)
