"""Outputs in S3: the machine sends them by itself, and what of them is newer than what is home comes home."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from launcher.aws import durable
from launcher.aws.client import Aws
from launcher.aws.durable.place import find
from launcher.domain import JobReport, JobSpec, Plan
from launcher.errors import GpurunError, SpecError, TransferError
from launcher.live import LiveRun, now
from launcher.paths import CHECKPOINT_NAME, LOG_NAME, OWN_FOLDER
from launcher.ports import Connection, Lines, Reporter
from launcher.shipments import Shipment, Shipments
from launcher.sync import remote_agent

RENEW_SHARE = 0.5
"""A grant is renewed when so much of its time has passed."""
RENEW_AT_LEAST_S = 60.0
CONNECT_TIMEOUT_S = 60.0
CLOSE_S = 2.0
BLOCK_BYTES = 1 << 16


def store(spec: JobSpec) -> str | None:
    """The `s3://bucket/prefix` that the run's machines send to, if any."""
    return spec.outputs if isinstance(spec.outputs, str) else None


def check(spec: JobSpec, aws: Aws, plan: Plan, reporter: Reporter, *, rehearsal: bool) -> None:
    """Try the place out before anything is launched, and tell what it costs and how long it is open.

    Raises `SpecError` for a bucket that is missing or cannot be written to, and what AWS answers otherwise, which only
    a rehearsal does without.
    """
    uri = store(spec)
    if uri is None:
        return
    deadline, regions = now() + timedelta(hours=plan.hours), {offer.region for offer in plan.offers}
    try:
        notes = durable.check(aws, uri, deadline=deadline, regions=regions).notes
    except SpecError:
        raise
    except GpurunError as error:
        if not rehearsal:
            raise
        notes = (f"{uri} was not tried out: {error.message}",)
    for note in notes:
        reporter.warn(note)


def permit(live: LiveRun, connection: Connection, segment: int) -> durable.Grant | None:
    """Let a segment's machine send its outputs; nothing where they only go home. Raises what S3 and SSH do."""
    uri = store(live.spec)
    if uri is None:
        return None
    there = find(live.aws, uri)
    grant = durable.mint(live.aws, there, live.run_id, segment=segment, deadline=live.deadline)
    remote_agent.grant(connection, live.layout, grant.form)
    live.event("outputs.granted", expires_at=grant.expires_at.isoformat())
    return grant


class Keeper:
    """Renews the present machine's grant for as long as it is attended; a failure is told once and tried again."""

    def __init__(self, live: LiveRun, lines: Lines) -> None:
        self._live = live
        self._lines = lines
        self._segment = live.record.segment
        """Of the machine that those lines lead to, whatever the run's present one is by then."""
        self._over = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._keep, name="gpurun-outputs", daemon=True)
        if store(live.spec) is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop renewing; what was granted stays. A line that is dead is not waited for."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _keep(self) -> None:
        pause_s = 0.0
        while not self._over.wait(pause_s):
            pause_s = RENEW_AT_LEAST_S
            try:
                grant = permit(self._live, self._lines.control.fresh(CONNECT_TIMEOUT_S), self._segment)
            except GpurunError as error:
                if not self._told:
                    self._told = True
                    self._live.reporter.warn(f"the machine's leave to send outputs was not renewed: {error.message}")
                continue
            if grant is not None:
                left_s = (grant.expires_at - now()).total_seconds()
                pause_s = max(RENEW_AT_LEAST_S, RENEW_SHARE * left_s)
            self._told = False


def newer(live: LiveRun, home: Shipment | None) -> durable.Generation | None:
    """The newest generation in S3, where it is newer than the one that is home; raises what S3 answers."""
    uri = store(live.spec)
    found = durable.newest(live.aws, uri, live.run_id) if uri else None
    if found is None or home is None:
        return found
    there = (found.segment, found.newest_mtime_ns, found.complete)
    return found if there > (home.segment, newest_mtime_ns(home.checkpoint), False) else None


def newest_mtime_ns(folder: Path) -> int:
    """When a file below it was last written, by the clock of the machine that wrote it; 0 where there is none."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return max((path.stat().st_mtime_ns for path in files), default=0)


def catch_up(live: LiveRun) -> Shipment | None:
    """Bring what S3 has home, where that is newer: to go on from it, or to end with it. Gives the newest at home.

    A failure is told and leaves what is home as it was.
    """
    shipments = Shipments(live.paths.shipments)
    home = shipments.newest()
    try:
        found = newer(live, home)
        if found is not None:
            return _to_shipments(live, shipments, found)
    except (GpurunError, OSError) as error:
        live.reporter.warn(f"what the machine sent to {store(live.spec)} did not come home: {error}")
    return home


def _to_shipments(live: LiveRun, shipments: Shipments, found: durable.Generation) -> Shipment:
    folder = shipments.begin()
    with _log_shown(live):
        taken = durable.pull_newest(
            live.aws,
            store(live.spec) or "",
            live.run_id,
            checkpoint=folder / "checkpoint",
            output=folder / "output",
            output_is_ours=True,
            log=live.paths.log,
        )
    taken = taken or found
    made = shipments.publish(
        folder, segment=taken.segment, at_epoch_s=taken.at_epoch_s, files=taken.files, size_bytes=taken.size_bytes
    )
    about = {"generation": made.number, "at": made.at_epoch_s, "files": made.files, "size_bytes": made.size_bytes}
    live.event("checkpoint.saved", **about, source=store(live.spec))
    live.reporter.note(f"what the machine had sent to {store(live.spec)} is home: {made.files} files")
    return made


@contextmanager
def _log_shown(live: LiveRun) -> Iterator[None]:
    """Show what comes of the log meanwhile: whoever follows it goes on after what is home."""
    path = live.paths.log
    shown_bytes = path.stat().st_size if path.exists() else 0
    yield
    if not path.exists():
        return
    with path.open("rb") as log:
        log.seek(shown_bytes)
        while block := log.read(BLOCK_BYTES):
            live.reporter.log(block)


def results(live: LiveRun) -> JobReport | None:
    """All that a job made which ended while nobody watched, home from S3, with how it ended; `None`: not all is there.

    A failure is told: what is in S3 stays there.
    """
    uri = store(live.spec)
    if uri is None or (live.has_event("fetched") and live.has_event("job.done")):
        return None
    try:
        found = durable.newest(live.aws, uri, live.run_id)
        if found is None or not found.complete or found.segment != live.record.segment:
            return None
        live.phases.enter("fetch", uri)
        with _log_shown(live):
            own, taken = lay_out(live, Path(live.record.results_dir))
        if taken is None or not taken.complete:
            raise TransferError("not all of the last that was sent is there any more; older results were taken")
    except (GpurunError, OSError) as error:
        live.reporter.warn(f"the results in {uri} did not come home: {error}; gpurun fetch-weights {live.run_id}")
        return None
    live.event("fetched", files=taken.files, size_bytes=taken.size_bytes, own=own.name, source=uri)
    return JobReport(state="done", exit_status=taken.exit_status, log_bytes=taken.log_bytes, ended_by=taken.ended_by)


def lay_out(live: LiveRun, destination: Path) -> tuple[Path, durable.Generation | None]:
    """The newest whole generation in S3 as results lie at home.

    Gives the folder of our own files beside them, and which generation it was: an older one than the newest where a
    piece of that is gone. Raises `TransferError`, and what S3 answers.
    """
    uri = store(live.spec) or ""
    found = durable.newest(live.aws, uri, live.run_id)
    own = own_folder((item.name for item in found.output) if found else (), destination)
    taken = durable.pull_newest(
        live.aws,
        uri,
        live.run_id,
        checkpoint=own / CHECKPOINT_NAME if live.spec.checkpoint else None,
        output=destination,
        log=live.paths.log,
        report=live.reporter.transfer,
    )
    if found is not None and taken is not None and (taken.segment, taken.number) < (found.segment, found.number):
        live.reporter.warn(
            f"a piece of the newest that was sent to {uri} (generation {found.number} of machine {found.segment}) is "
            f"gone there: what came home is generation {taken.number} of machine {taken.segment}"
        )
    if live.paths.log.exists():
        own.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(live.paths.log, own / LOG_NAME)
    return own, taken


def tidy(live: LiveRun) -> None:
    """Take away what S3 holds besides the newest generation of a run whose results are home and machines gone.

    An identity that may not delete leaves it there.
    """
    uri = store(live.spec)
    if uri is not None and live.has_event("fetched"):
        with suppress(GpurunError):
            durable.tidy(live.aws, uri, live.run_id)


def lay_out_home(home: Shipment, destination: Path) -> None:
    """The newest generation at home as results lie there; raises `TransferError`."""
    own = own_folder((path.name for path in home.output.iterdir()), destination)
    try:
        shutil.copytree(home.output, destination, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(home.checkpoint, own / CHECKPOINT_NAME, symlinks=True, dirs_exist_ok=True)
    except OSError as error:
        raise TransferError(f"cannot write to {destination}: {error}", hint="--to names another folder") from None


def own_folder(names: Iterable[str], results: Path) -> Path:
    """Where our own files go beside results of these names: the job's names are the job's, ours gives way.

    Raises `TransferError` where the job has taken all that ours could be.
    """
    taken = {name.split("/", 1)[0] for name in names}
    ours = (OWN_FOLDER, f"{OWN_FOLDER}-run", results.name)
    free = [name for name in ours if name not in taken]
    if not free:
        raise TransferError(
            f"the job's results are called {', '.join(ours)}: no name is left for its checkpoint and log",
            hint="gpurun fetch-weights RUN --to DIR   (a folder of another name)",
        )
    return results / free[0]
