"""A run's folder removed from a machine that outlives the run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import stat

from .checkpoint import processes_of
from .files import at_home, is_folder
from .groups import kill_session
from .job import SIGNALS, job_lives, locked, report_of, supervised
from .wire import Json, Refusal, Wire

RUN_ID = re.compile(r"[^/]+-[0-9]{8}-[0-9]{6}-[0-9a-z]+")
"""As `launcher.ledger` makes them: neither an agent nor a store is called so."""
RUNNING = {"starting", "running"}


def discard(_wire: Wire, request: Json) -> Json:
    """End the run's job at once, and remove all of the run where `remove` says so; a folder that is gone is no error.

    Refuses what is not a run's own folder.
    """
    run = at_home(request["run"])
    above, name = os.path.split(run)
    if not RUN_ID.fullmatch(name) or os.path.basename(above) != "gpurun":
        raise Refusal(f"{request['run']} is no run's folder")
    if os.path.islink(run):
        raise Refusal(f"{request['run']} is a link to another folder: nothing was removed")
    if not is_folder(run):
        return {"removed": False}
    end_job(run)
    if request["remove"]:
        open_up(run)
        shutil.rmtree(run)
    return {"removed": bool(request["remove"])}


def end_job(run: str) -> None:
    """Kill the job, and wait for its supervisor: it writes until it has ended."""
    state = report_of(run)
    with contextlib.suppress(ProcessLookupError):
        if supervised(run):
            if state["state"] in RUNNING:
                os.kill(state["supervisor"], SIGNALS["KILL", "signal"])
        elif job_lives(state):
            os.killpg(state["job"], signal.SIGKILL)
            kill_session(state["job"])
        elif state["state"] == "lost" and state.get("job"):
            end_orphans(state["job"], os.path.basename(run))
    with locked(f"{run}/supervisor.lock", fcntl.LOCK_EX):
        return


def end_orphans(session: int, name: str) -> None:
    """Kill what a job left that nobody saw end; its number may be a stranger's by now, so each must be the run's."""
    mark = f"GPURUN_RUN_ID={name}".encode()
    for pid in processes_of(session):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def open_up(run: str) -> None:
    """A job may have closed its folders to itself, too."""
    for folder, names, _ in os.walk(run):
        for name in names:
            path = f"{folder}/{name}"
            if not os.path.islink(path):
                with contextlib.suppress(PermissionError):  # another user's, as a container makes them: it may be empty
                    os.chmod(path, stat.S_IRWXU)
