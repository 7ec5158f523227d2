"""Checkpoints home while the job runs: as they are made, in a thread of its own."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from launcher.domain import Manifest, TransferProgress
from launcher.errors import GpurunError
from launcher.live import LiveRun
from launcher.ports import Lines
from launcher.shipments import Shipment, Shipments
from launcher.sync import remote_agent, transfer

CONNECT_TIMEOUT_S = 30.0
RETRY_S = 5.0
LOG_PATIENCE_S = 5.0
"""The log goes over a line of its own and is ahead of any checkpoint, unless that line is being mended."""


class Shipper:
    """Brings one machine's checkpoints home whenever it is told that there is a new one.

    What goes wrong is told once and tried again at the next checkpoint: the run goes on, and what is home stays home.
    """

    def __init__(self, live: LiveRun, lines: Lines) -> None:
        self._live = live
        self._lines = lines
        self._shipments = Shipments(live.paths.shipments)
        self._segment = live.record.segment
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._shipping = threading.Lock()
        self._told: set[str] = set()
        self._last_state = ""
        self.took_s: float | None = None
        """How long the last one took."""
        self._thread = threading.Thread(target=self._serve, name="gpurun-shipper", daemon=True)
        self._thread.start()

    def changed(self, state: str) -> None:
        """The checkpoint folder over there is another than before; returns at once."""
        if state != self._last_state:
            self._last_state = state
            self._wanted.set()

    def ship(self) -> Shipment:
        """Bring home what is there now; returns when it is home, verified and written down.

        Raises `RemoteError` where the machine cannot give it, and `OSError` where the disk here cannot take it.
        """
        with self._shipping:
            return ship(self._live, self._lines, self._shipments, self._segment)

    def close(self) -> None:
        """End the thread, after what it is about to bring."""
        self._over.set()
        self._wanted.set()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            if self._over.is_set():
                return
            self._wanted.clear()
            began = time.monotonic()
            try:
                self.ship()
            except (GpurunError, OSError) as error:
                self._tell(error)
                self._wanted.set()  # and again: it may be the last one that the job makes
                self._over.wait(RETRY_S)
            else:
                self.took_s = time.monotonic() - began
                self._told.clear()

    def _tell(self, error: Exception) -> None:
        text = error.message if isinstance(error, GpurunError) else str(error)
        if text not in self._told and not self._over.is_set():
            self._told.add(text)
            self._live.reporter.warn(f"a checkpoint did not come home: {text}")


def ship(live: LiveRun, lines: Lines, shipments: Shipments, segment: int) -> Shipment:
    """Checkpoint, then output, into the next generation; written into the ledger when it is whole.

    The output is taken after the checkpoint: what a job wrote beyond its checkpoint it writes again, what is missing
    it would never write again. Raises as `transfer.pull` does, and `OSError`.
    """
    folder = shipments.begin()
    try:
        return _filled(live, lines, shipments, segment, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _filled(live: LiveRun, lines: Lines, shipments: Shipments, segment: int, folder: Path) -> Shipment:
    at_epoch_s = time.time()
    layout = live.layout
    log_bytes = remote_agent.report(lines.control.fresh(CONNECT_TIMEOUT_S), layout).log_bytes
    taken = [
        _mirror(lines, layout.checkpoint, folder / "checkpoint"),
        _mirror(lines, layout.output, folder / "output"),
    ]
    _await_log(live.paths.log, log_bytes)
    made = shipments.publish(
        folder,
        segment=segment,
        at_epoch_s=at_epoch_s,
        files=sum(len(each.entries) for each in taken),
        size_bytes=sum(each.size_bytes for each in taken),
    )
    if taken[0].entries:
        live.event(
            "checkpoint.saved", generation=made.number, at=at_epoch_s, files=made.files, size_bytes=made.size_bytes
        )
    return made


def _await_log(log: Path, size_bytes: int) -> None:
    """Wait a little for the log that was written before the checkpoint: whoever goes on from it has no gap there."""
    limit = time.monotonic() + LOG_PATIENCE_S
    while (log.stat().st_size if log.exists() else 0) < size_bytes and time.monotonic() < limit:
        time.sleep(0.02)  # another thread writes it, and tells nobody


def _mirror(lines: Lines, remote_dir: str, destination: Path) -> Manifest:
    """A folder as it is over there, without what is gone there."""
    manifest = transfer.pull(lines, remote_dir, destination, _silent, "checkpoint", warn=_unheard)
    there = {entry.name for entry in manifest.entries}
    for path in sorted(destination.rglob("*"), reverse=True):
        if path.relative_to(destination).as_posix() not in there:
            _remove(path)
    return manifest


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _silent(progress: TransferProgress) -> None:
    """A bar that flickers for each checkpoint would hide the log."""


def _unheard(note: str) -> None:
    """What changes while it is read is the rule here, and comes again."""
