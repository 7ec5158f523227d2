"""The job: start it, report it, signal it, hold its machine."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from typing import IO, TYPE_CHECKING

from . import checkpoint
from .clock import now_s
from .files import at_home, read_json, write_atomically
from .groups import kill_session
from .legorder import check_legs
from .settle import settled
from .shipped import shipped
from .wire import Json, Refusal, Wire, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPERVISE = "import sys; sys.path.insert(0, sys.argv[1]); from agent.supervise import supervise; supervise(sys.argv[2])"
SIGNALS = {
    ("TERM", "signal"): signal.SIGUSR2,
    ("KILL", "signal"): signal.SIGUSR1,
    ("TERM", "interruption"): signal.SIGALRM,
    ("KILL", "interruption"): signal.SIGVTALRM,
}
"""What the supervisor is sent for each request and reason, without a file, which a full disk would not take.

They tell a request apart from the machine's own shutdown, which is SIGTERM.
"""
ENDINGS = {int(number): asked for asked, number in SIGNALS.items()}
REPLANNED = signal.SIGPROF
"""Tells the supervisor to read anew when the job is to end."""


def run_paths(run: str) -> dict[str, str]:
    """What lies where in a run's folder; `launcher.sync.layout` knows the same."""
    names = (
        "code",
        "data",
        "champion",
        "output",
        "checkpoint",
        "keras",
        "log",
        "state",
        "lease",
        "released",
        "stop",
        "spare",
        "job.sh",
        "supervisor.log",
    )
    return {name: os.path.join(run, name) for name in names}


@contextlib.contextmanager
def locked(path: str, how: int) -> Iterator[IO[str]]:
    """Hold a lock file; raises `BlockingIOError` where `how` says not to wait."""
    with open(path, "a", encoding="ascii") as file:
        fcntl.flock(file, how)
        yield file


def supervised(run: str) -> bool:
    """Whether the run's supervisor lives: it holds a lock for as long as it does, whatever becomes of its number."""
    try:
        with locked(f"{run}/supervisor.lock", fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def started_ticks(pid: int) -> str:
    """When a process started, in clock ticks since boot, with the boot's id; without /proc as `ps` says it."""
    if not os.path.exists("/proc/self/stat"):
        return started_by_ps(pid)
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}:{ticks}"
    except (OSError, IndexError):
        return ""


def started_by_ps(pid: int) -> str:
    """The same from `ps`, empty where it is gone: a number that is used again, after a reboot, is a stranger's."""
    import subprocess  # noqa: PLC0415  (only where there is no /proc: what is imported counts as the job's memory)

    plain = dict(os.environ, LC_ALL="C", TZ="UTC")
    try:
        asked = ["ps", "-o", "lstart=", "-p", str(pid)]
        told = subprocess.run(asked, stdout=subprocess.PIPE, env=plain, check=False).stdout
        return told.decode("ascii", "replace").strip()
    except OSError:
        return ""


def job_lives(state: Json) -> bool:
    """Whether the job's first process is still there, by number and birth."""
    pid = state.get("job")
    if not pid or started_ticks(pid) != state.get("job_started"):
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def report_of(run: str) -> Json:
    """The job's state, true after any crash: what no supervisor will ever end is `lost`."""
    paths = run_paths(run)
    state = read_json(paths["state"]) or {"state": "absent"}
    if state["state"] in {"starting", "running"} and not supervised(run):
        # It may have written the end between the two looks.
        state = read_json(paths["state"]) or state
        if state["state"] in {"starting", "running"}:
            state["state"] = "running" if job_lives(state) else "lost"
    with contextlib.suppress(FileNotFoundError):
        state["log_bytes"] = os.stat(paths["log"]).st_size
    if state.get("interruption"):
        state["interruption"] = interruption_of(state["interruption"])
    state["shipped"] = shipped(run)
    return state


def interruption_of(noted: Json) -> Json:
    """What was noted of the machine's end as it is told: the time left and not a moment, since clocks differ."""
    told = {name: noted[name] for name in ("kind", "action", "noticed_at", "ends_at")}
    left = noted["ends_at_s"]
    return dict(told, ends_in_s=None if left is None else max(0.0, left - now_s()))


def job_runs_in(folder: str) -> bool:
    """Whether the folder is that of a job that runs."""
    run = os.path.dirname(folder)
    return report_of(run)["state"] in {"starting", "running"}


def start(_wire: Wire, request: Json) -> Json:
    """Start the job under a supervisor and wait for its process number; a job that was started is left alone."""
    asked_at = now_s()
    check_legs(request["job"])
    run = at_home(request["run"])
    paths = run_paths(run)
    # Until it has confirmed: an update would not see yet that a job runs there.
    with settled(paths["code"]), settled(paths["data"]):
        return start_settled(run, paths, request, asked_at)


def start_settled(run: str, paths: dict[str, str], request: Json, asked_at: float) -> Json:
    """Start the job in folders that nobody changes meanwhile."""
    for folder in ("code", "data", "output", "checkpoint"):
        os.makedirs(paths[folder], exist_ok=True)
    os.chmod(run, 0o700)
    with locked(f"{run}/start.lock", fcntl.LOCK_EX):
        state = report_of(run)
        if state["state"] != "absent" and (state["state"] != "lost" or state.get("job")):
            return {"already": True, "report": state}
        go_on_with_log(run)
        write_lease(run, request["job"]["lease_s"])
        order = dict(request["job"], asked_at=asked_at)
        problem = start_supervisor(run, json.dumps(order).encode("ascii"))
        if problem:
            raise Refusal(f"the job's supervisor did not start: {problem}")
        return {"already": False, "report": report_of(run)}


def go_on_with_log(run: str) -> None:
    """Put in place the log that the run's machines before this one wrote: the job appends to it."""
    log, restored = run_paths(run)["log"], f"{run}/restore/log"
    if os.path.isfile(restored) and not os.path.lexists(log):
        os.chmod(restored, 0o600)
        os.rename(restored, log)


def start_supervisor(run: str, order: bytes) -> str:
    """Start it twice removed from this process, hand it the job through a pipe, and wait until it has confirmed.

    A fresh process and not a fork of this one, since a child's peak memory counts from its parent's size.
    Secrets are in the order: they pass through the pipe and rest nowhere. Gives the problem, if any.
    """
    order_out, order_in = os.pipe()
    ready_out, ready_in = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            log = os.open(run_paths(run)["supervisor.log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for source, target in ((order_out, 0), (ready_in, 1), (log, 2)):
                os.dup2(source, target)
            argv = [sys.executable, "-IS", "-X", "utf8", "-c", SUPERVISE, package_home(), run]
            os.execv(argv[0], argv)  # noqa: S606  (an argv list, no shell)
        finally:
            os._exit(127)
    os.close(order_out)
    os.close(ready_in)
    os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):
        write_all(order_in, order)
    os.close(order_in)
    with os.fdopen(ready_out, "rb") as ready:
        answer = ready.read()
    return "" if answer == b"running\n" else (answer.decode(errors="replace") or "it died at once")


def package_home() -> str:
    """The folder that this package lies in."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def report(_wire: Wire, request: Json) -> Json:
    """What there is to say of the job."""
    return {"report": report_of(at_home(request["run"]))}


def renew(_wire: Wire, request: Json) -> Json:
    """Push the lease's end off."""
    write_lease(at_home(request["run"]), request["lease_s"])
    return {}


def release(_wire: Wire, request: Json) -> Json:
    """The results are home: the machine need not wait for anybody to come for them."""
    write_atomically(run_paths(at_home(request["run"]))["released"], "")
    return {}


def write_lease(run: str, lease_s: float) -> None:
    """Note until when somebody holds the machine, in seconds of `clock.now_s`."""
    write_atomically(run_paths(run)["lease"], json.dumps(now_s() + lease_s))


def send_signal(_wire: Wire, request: Json) -> Json:
    """Ask the supervisor to end the job; where it is dead, signal the job's process group itself."""
    run = at_home(request["run"])
    number = SIGNALS[request["signal"], request["why"]]
    state = report_of(run)
    if state["state"] in {"starting", "running"}:
        with contextlib.suppress(ProcessLookupError):
            if supervised(run):
                os.kill(state["supervisor"], number)
            else:
                os.killpg(state["job"], getattr(signal, f"SIG{request['signal']}"))
                if request["signal"] == "KILL":
                    kill_session(state["job"])
    return {"report": state}


def stop_in(_wire: Wire, request: Json) -> Json:
    """Give the supervisor another moment for the job's end; without a supervisor there is nobody to keep it."""
    run = at_home(request["run"])
    at_s = now_s() + max(0.0, request["in_s"])
    state = report_of(run)
    if state["state"] in {"starting", "running"} and supervised(run):
        write_atomically(run_paths(run)["stop"], json.dumps({"at_s": at_s, "why": request["why"]}))
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["supervisor"], REPLANNED)
    return {"report": state}


def ask_checkpoint(_wire: Wire, request: Json) -> Json:
    """Ask the running job to save a checkpoint and go on; says how many processes were asked."""
    state = report_of(at_home(request["run"]))
    running = state["state"] == "running" and state.get("job")
    return {"asked": checkpoint.ask(state["job"]) if running else 0}
