"""Results home: every file checked against the machine's own manifest before anything is ended."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.domain import Manifest
from launcher.errors import HostUnreachable, RemoteError
from launcher.live import LiveRun
from launcher.sync import download, remote_agent

ATTEMPTS = 5
RENEW_EVERY_S = 300.0
"""Well within the results grace, which begins when the lease lapses."""
LOG_NAME = "gpurun-log.txt"
CHECKPOINT_NAME = "checkpoint"


def bring_home(live: LiveRun) -> None:
    """Output, checkpoints and log into the run's results folder; what is already there and right is left alone.

    Raises `TransferError` when they cannot be taken (a full disk, a far side that lies) and `HostUnreachable` when
    the line stays dead.
    """
    results = Path(live.record.results_dir)
    with _held(live):
        files, size_bytes = _pull_all(live, results)
    live.event("fetched", files=files, size_bytes=size_bytes)


@contextmanager
def _held(live: LiveRun) -> Iterator[None]:
    """Renew the machine's lease while the block runs: a long download outlasts the results grace."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            with suppress(RemoteError):  # a dead line is the download's to mend; the grace is longer than that takes
                if live.line is not None:
                    remote_agent.renew(live.line.current(), live.layout, 2 * RENEW_EVERY_S)

    keeper = threading.Thread(target=renew, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


def pull_everything(live: LiveRun, destination: Path) -> Path:
    """Results and checkpoints as they are now, into a folder; the run goes on."""
    _pull_all(live, destination)
    return destination


def _pull_all(live: LiveRun, results: Path) -> tuple[int, int]:
    outputs = pull(live, live.layout.output, results, label="results")
    entries, size_bytes = len(outputs.entries), outputs.size_bytes
    if live.spec.checkpoint:
        saved = pull(live, live.layout.checkpoint, results / CHECKPOINT_NAME, label="checkpoint")
        entries, size_bytes = entries + len(saved.entries), size_bytes + saved.size_bytes
    if live.paths.log.exists():
        shutil.copyfile(live.paths.log, results / LOG_NAME)
    return entries, size_bytes


def pull(live: LiveRun, remote_dir: str, destination: Path, *, label: str) -> Manifest:
    """One folder home, over as many lines as it takes."""
    line = live.line
    if line is None:
        raise HostUnreachable("no line to the machine", hint=f"gpurun resume {live.run_id}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return download.pull(
                line.fresh(60.0), remote_dir, destination, live.reporter.transfer, label=label, note=live.reporter.warn
            )
        except HostUnreachable:
            if attempt == ATTEMPTS:
                raise
            live.reporter.warn("the line broke during the download; going on over a new one")
    raise AssertionError
