"""A machine filled with the run's code and data, and the job started on it where the last one left off."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from launcher import keepsake, outputs
from launcher.domain import Instance, RunStatus
from launcher.live import LiveRun
from launcher.order import agent_job, check_secrets
from launcher.ports import Connection, Lines
from launcher.prepare import Luggage, pack
from launcher.registry import code as pedigree
from launcher.send import send, send_all
from launcher.sync import remote_agent
from launcher.sync.local import ignore, tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Berth:
    """A machine with code and data on it, waiting for its job."""

    number: int
    """Of its segment."""
    instance: Instance
    lines: Lines


def luggage(live: LiveRun) -> Luggage:
    """Code and data, looked at before a machine is asked for: for a later machine the code as it first went up.

    Raises `SpecError` for what cannot be read and for a secret that the environment lacks.
    """
    check_secrets(live.spec)
    later = bool(live.ledger.segments(live.run_id))
    code = keepsake.kept(live.paths.code) if later else None
    if later and code is None:
        live.reporter.warn(f"the code was not kept: what goes up is {live.spec.workdir} as it is now")
    packed = pack(live.spec, lambda: live.aws, code=code)
    for line in packed.surprises:
        live.reporter.warn(line)
    return packed


def fill(live: LiveRun, lines: Lines, connection: Connection, luggage: Luggage) -> None:
    """Agent, code, data, a champion to be compared with and a checkpoint to go on from; raises as `send_all` does."""
    remote_agent.install(connection, live.layout)
    pedigree.keep(luggage.code, live.paths.pedigree)
    send_all(live, lines, luggage)
    if live.paths.champion.is_dir():
        send(live, lines, _all_of(live.paths.champion), live.layout.champion, label="champion")
    if live.paths.inherited.is_dir():
        send(live, lines, _all_of(live.paths.inherited), live.layout.checkpoint, label="checkpoint")
    if live.spec.limits.max_restarts:
        keepsake.keep(luggage.code, live.paths.code)


def start(live: LiveRun, lines: Lines, connection: Connection) -> None:
    """Start the job on the run's present machine, after what an earlier one left; one that was started goes on.

    Raises `RemoteError`.
    """
    live.phases.enter("start")
    if live.record.segment > 1 and not live.here("restored"):
        restore(live, lines)
    outputs.permit(live, connection, live.record.segment)
    live.event("job.intent")
    remote_agent.start(connection, live.layout, agent_job(live))
    live.event("job.started")
    live.advance(RunStatus.RUNNING, reason="")  # nothing is waited for any more
    live.phases.enter("first log" if live.record.segment == 1 else "run")


def restore(live: LiveRun, lines: Lines) -> None:
    """Put the last checkpoint that is home onto a new machine, with the output of its time and the log so far."""
    newest = outputs.catch_up(live)
    _restore_log(live, lines)
    if newest is None or not any(newest.checkpoint.rglob("*")):
        live.event("restored", generation=0)
        live.reporter.note("no checkpoint came home: the job begins anew")
        return
    send(live, lines, _all_of(newest.checkpoint), live.layout.checkpoint, label="checkpoint")
    send(live, lines, _all_of(newest.output), live.layout.output, label="output")
    live.event("restored", generation=newest.number)


def _restore_log(live: LiveRun, lines: Lines) -> None:
    """The log as far as it is home goes before what the job will write there: one log over all machines."""
    if not live.paths.log.exists() or not live.paths.log.stat().st_size:
        return
    folder = live.paths.home / "restore"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        os.link(live.paths.log, folder / "log")
        send(live, lines, _all_of(folder), f"{live.layout.home}/restore", label="log")
    finally:
        shutil.rmtree(folder)


def _all_of(folder: Path) -> tree.Scan:
    return tree.scan(folder, ignore=ignore.nothing())
