"""Results home: every file checked against the machine's own manifest before anything is ended."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.domain import Manifest
from launcher.errors import GpurunError, HostUnreachable, TransferError
from launcher.live import LiveRun
from launcher.outputs import own_folder
from launcher.paths import CHECKPOINT_NAME, LOG_NAME
from launcher.sync import remote_agent, transfer
from launcher.sync.telling import Overheard

ATTEMPTS = 5
RENEW_EVERY_S = 300.0
"""Well within the results grace, which begins when the lease lapses."""


def bring_home(live: LiveRun) -> None:
    """Output, checkpoints and log into the run's results folder; what is already there and right is left alone.

    Raises `TransferError` when they cannot be taken (a full disk, a far side that lies) and `HostUnreachable` when
    the line stays dead.
    """
    results = Path(live.record.results_dir)
    with _held(live):
        pulled = _pull_all(live, results)
    try:
        pulled.own.mkdir(exist_ok=True)
        if live.paths.log.exists():
            shutil.copyfile(live.paths.log, pulled.own / LOG_NAME)
    except OSError as error:
        raise TransferError(
            f"the log cannot be written to {pulled.own}: {error.strerror}",
            hint=f"make room there, then gpurun resume {live.run_id}",
        ) from None
    live.event("fetched", files=pulled.files, size_bytes=pulled.size_bytes, own=pulled.own.name)


def pull_everything(live: LiveRun, destination: Path) -> Path:
    """Results and checkpoints as they are now, into a folder; the run goes on."""
    with _held(live):
        _pull_all(live, destination)
    return destination


class Pulled:
    """What came home, and where our own files go beside it."""

    def __init__(self, outputs: Manifest, results: Path) -> None:
        self.files = len(outputs.entries)
        self.size_bytes = outputs.size_bytes
        self.own = own_folder((entry.name for entry in outputs.entries), results)

    def add(self, more: Manifest) -> None:
        """Count another folder's files in."""
        self.files += len(more.entries)
        self.size_bytes += more.size_bytes


def _pull_all(live: LiveRun, results: Path) -> Pulled:
    pulled = Pulled(pull(live, live.layout.output, results, label="results"), results)
    if live.spec.checkpoint:
        pulled.add(pull(live, live.layout.checkpoint, pulled.own / CHECKPOINT_NAME, label="checkpoint"))
    return pulled


@contextmanager
def _held(live: LiveRun) -> Iterator[None]:
    """Renew the machine's lease while the block runs: a long download outlasts the results grace."""
    done = threading.Event()

    def renew() -> None:
        while True:
            with suppress(GpurunError):  # a dead line is the download's to mend; the grace is longer than that takes
                if live.lines is not None:
                    remote_agent.renew(live.lines.control.current(), live.layout, 2 * RENEW_EVERY_S)
            if done.wait(RENEW_EVERY_S):
                return

    keeper = threading.Thread(target=renew, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


def pull(live: LiveRun, remote_dir: str, destination: Path, *, label: str) -> Manifest:
    """One folder home, over as many lines as it takes."""
    lines = live.lines
    if lines is None:
        raise HostUnreachable("no line to the machine", hint=f"gpurun resume {live.run_id}")
    for attempt in range(1, ATTEMPTS + 1):
        overheard, began = Overheard(live.reporter.transfer), time.monotonic()
        try:
            manifest = transfer.pull(lines, remote_dir, destination, overheard, label=label, warn=live.reporter.warn)
        except HostUnreachable:
            if attempt == ATTEMPTS:
                raise
            live.reporter.warn("the line broke during the download; going on over a new one")
        except OSError as error:
            raise TransferError(
                f"results cannot be written to {destination}: {error.strerror}",
                hint=f"gpurun fetch-weights {live.run_id} --to another folder, then gpurun down {live.run_id}",
            ) from None
        else:
            seconds = round(time.monotonic() - began, 3)
            live.event("came", label=label, sent_bytes=overheard.sent_bytes, seconds=seconds)
            return manifest
    raise AssertionError
