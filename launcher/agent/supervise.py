"""The job's parent, which outlives every disconnect.

It starts the job in its own session, passes signals on, keeps the deadline, records how the job ended and what it
used, and powers a machine off that nobody holds a lease on any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from .files import read_json, write_atomically
from .job import run_paths, started_ticks
from .wire import BLOCK_BYTES, Json

if TYPE_CHECKING:
    from types import FrameType

LEFTOVER_GRACE_S = 2.0
PYTHON_HOMES = ("/opt/gpurun/bin", "/opt/tensorflow/bin", "/opt/pytorch/bin")
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


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
    """The job's parent. Times in seconds, the deadline since the epoch."""

    def __init__(self, run: str, order: Json) -> None:
        self.run = run
        self.paths = run_paths(run)
        self.order = order
        self.state: Json = {"state": "starting", "supervisor": os.getpid()}
        self.kill_at: float | None = None
        self.job = 0
        self.leaving = False
        self.wakeup = catch_signals()

    def start(self) -> None:
        """Start the job in a session and process group of its own."""
        self.note()
        self.ooms = oom_kills()
        self.began = time.monotonic()
        self.job = start_job(self.run, self.order)
        self.note(state="running", job=self.job, job_started=started_ticks(self.job), started_at=time.time())

    def note(self, **changes: Json) -> None:
        """Write the state down, in one step."""
        self.state.update(changes)
        write_atomically(self.paths["state"], json.dumps(self.state))

    def wait(self) -> None:
        """See the job to its end, and write down how it ended."""
        while True:
            pid, status, used = os.wait4(self.job, os.WNOHANG)
            if pid:
                break
            ready = select.select([self.wakeup], [], [], self.pause_s())[0]
            caught = os.read(self.wakeup, 256) if ready else b""
            self.obey(set(caught))
        elapsed_s = time.monotonic() - self.began
        end_group(self.job)
        signalled = os.WIFSIGNALED(status)
        exit_status = 128 + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
        self.note(
            state="done",
            ended_at=time.time(),
            exit_status=exit_status,
            killed_by_memory=bool(exit_status and "ended_by" not in self.state and oom_kills() > self.ooms),
            usage=usage_of(used, elapsed_s),
        )

    def pause_s(self) -> float:
        """How long nothing can be due; at most half a minute, since clocks are set."""
        due_s = 30.0
        if self.kill_at is not None:
            due_s = min(due_s, self.kill_at - time.monotonic())
        elif self.order["deadline_epoch_s"]:
            due_s = min(due_s, self.order["deadline_epoch_s"] - self.order["grace_s"] - time.time())
        return max(due_s, 0.0)

    def obey(self, signals: set[int]) -> None:
        """Pass on what was asked for, and what the clock asks for."""
        deadline = self.order["deadline_epoch_s"]
        if signals & {signal.SIGTERM, signal.SIGINT}:
            self.leaving = True
            self.terminate("shutdown")
        elif signal.SIGUSR2 in signals:
            self.terminate("signal")
        elif self.kill_at is None and deadline and time.time() >= deadline - self.order["grace_s"]:
            self.terminate("deadline")
        if signal.SIGUSR1 in signals:
            self.state.setdefault("ended_by", "signal")
            self.kill_at = time.monotonic()
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            signal_group(self.job, signal.SIGKILL)
            self.kill_at = time.monotonic() + 1.0

    def terminate(self, why: str) -> None:
        """Ask the job to save and exit; what remains after the grace is killed."""
        if self.kill_at is None:
            self.note(ended_by=why)
            signal_group(self.job, signal.SIGTERM)
            self.kill_at = time.monotonic() + self.order["grace_s"]

    def hold_machine(self) -> None:
        """Wait until nobody holds the machine and its results have had their time, then power it off."""
        ended = self.state["ended_at"]
        kept = ended + (self.order["keep_on_failure_s"] if self.state["exit_status"] else 0.0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            lease = read_json(self.paths["lease"]) or 0.0
            waiting = max(ended, lease) + self.order["results_grace_s"]
            released = os.path.exists(self.paths["released"])
            left_s = (kept if released else max(kept, waiting)) - time.time()
            if left_s <= 0:
                power_off()
            # Files tell of a lease and a release, and the clock may be set: nothing here could be awaited.
            time.sleep(min(left_s, 5.0) if left_s > 0 else 60.0)


def catch_signals() -> int:
    """Turn signals into bytes on a pipe; gives its reading end."""
    out, into = os.pipe()
    os.set_blocking(into, False)

    def caught(number: int, frame: FrameType | None) -> None:
        """Nothing to do here: the number is on the pipe."""

    for number in CAUGHT:
        signal.signal(number, caught)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(into)
    return out


def start_job(run: str, order: Json) -> int:
    """Fork the job's first process; one that cannot be executed says so in the log and ends with 127, as in a shell."""
    paths = run_paths(run)
    argv = order["argv"]
    if order["script"]:
        write_atomically(paths["job.sh"], order["script"])
        argv = ["bash", "-e", "-o", "pipefail", paths["job.sh"]]
    environment = job_environment(run, order)
    log = os.open(paths["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid:
        os.close(log)
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*CAUGHT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(paths["code"])
        os.execvpe(argv[0], argv, environment)  # noqa: S606  (an argv list, no shell)
    except OSError as error:
        os.write(2, f"gpurun: {argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if error.errno == errno.ENOENT else 126)
    finally:
        os._exit(126)


def job_environment(run: str, order: Json) -> dict[str, str]:
    """The job contract: what the caller set wins over our defaults, and GPURUN_* is always ours."""
    paths = run_paths(run)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    homes = [home for home in PYTHON_HOMES if os.path.isdir(home)]
    environment["PATH"] = os.pathsep.join([*homes, environment.get("PATH", os.defpath)])
    environment.update(MPLBACKEND="Agg", PYTHONUNBUFFERED="1", TF_CPP_MIN_LOG_LEVEL="2")
    if order["device"] == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    if "KERAS_HOME" not in order["env"]:
        environment["KERAS_HOME"] = keras_home(paths["keras"], order["floatx"])
    environment.update(order["env"])
    environment.update(order["secrets"])
    environment.update(
        GPURUN_RUN_ID=os.path.basename(run),
        GPURUN_DEVICE=order["device"],
        GPURUN_FLOATX=order["floatx"],
        GPURUN_DATA_DIR=paths["data"],
        GPURUN_OUTPUT_DIR=paths["output"],
        GPURUN_CHECKPOINT_DIR=paths["checkpoint"],
    )
    return environment


def keras_home(folder: str, floatx: str) -> str:
    """A Keras configuration folder with our floatx and everything else as the user of the machine has it."""
    os.makedirs(folder, exist_ok=True)
    own = os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")
    try:
        settings = read_json(own) or {}
    except ValueError:
        settings = {}
    settings["floatx"] = floatx
    write_atomically(f"{folder}/keras.json", json.dumps(settings))
    return folder


def signal_group(pid: int, number: int) -> bool:
    """Signal a process group; `False` where nothing of it is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group that holds only zombies.
        return False
    return True


def end_group(pid: int) -> None:
    """End what the job left running in its process group, so that its log is final."""
    if not signal_group(pid, signal.SIGTERM):
        return
    until = time.monotonic() + LEFTOVER_GRACE_S
    while signal_group(pid, 0) and time.monotonic() < until:
        time.sleep(0.01)  # nobody is told when the last process of a group has gone
    signal_group(pid, signal.SIGKILL)


def usage_of(used: Any, elapsed_s: float) -> Json:
    """The figures that `time` prints, from wait4(2): seconds, KiB and counts."""
    return {
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "elapsed_s": elapsed_s,
        "max_rss_kib": used.ru_maxrss // (1024 if sys.platform == "darwin" else 1),
        "major_faults": used.ru_majflt,
        "minor_faults": used.ru_minflt,
        "inputs": used.ru_inblock,
        "outputs": used.ru_oublock,
    }


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory: in our control group where it says, else at all."""
    with contextlib.suppress(OSError):
        with open("/proc/self/cgroup", encoding="ascii") as file:
            group = file.read().rpartition("0::")[2].strip()
        return counter(f"/sys/fs/cgroup{group}/memory.events")
    with contextlib.suppress(OSError):
        return counter("/proc/vmstat")
    return 0


def counter(path: str) -> int:
    """The line `oom_kill N` of a kernel file; raises `OSError` where there is none."""
    with open(path, encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    raise FileNotFoundError(path)


def power_off() -> None:
    """Shut the machine down; EC2 terminates one that was launched to."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for argv in (["sudo", "-n", "shutdown", "-h", "now"], ["shutdown", "-h", "now"]):
        if os.spawnvp(os.P_WAIT, argv[0], argv) == 0:  # noqa: S606  (an argv list, no shell)
            return
