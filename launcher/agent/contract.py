"""The job's first process and what it is given: command, environment, log."""

from __future__ import annotations

import errno
import json
import os
import signal

from .files import HOME_VARIABLE, read_json, write_atomically
from .job import run_paths
from .wire import Json

PYTHON_HOMES = ("/opt/gpurun/bin", "/opt/tensorflow/bin", "/opt/pytorch/bin")


def start_job(run: str, order: Json, caught: tuple[int, ...]) -> int:
    """Fork the job's first process, the `caught` signals as they are by default.

    Where the job has legs, that process runs them; else it becomes the job's command.
    One that cannot be executed says so in the log and ends with 127, as in a shell.
    """
    paths = run_paths(run)
    argv = order["argv"]
    if order["script"]:
        write_atomically(paths["job.sh"], order["script"])
        argv = ["bash", "-e", "-o", "pipefail", paths["job.sh"]]
    environment = job_environment(run, order, paths)
    log = os.open(paths["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid:
        os.close(log)
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*caught, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(paths["code"])
        if order.get("legs"):
            from .legs import run_legs  # noqa: PLC0415  (only where it is wanted, and in its own process)

            os._exit(run_legs(run, order))
        os.execvpe(argv[0], argv, environment)  # noqa: S606  (an argv list, no shell)
    except OSError as error:
        os.write(2, f"gpurun: {argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if error.errno == errno.ENOENT else 126)
    finally:
        os._exit(126)


def job_environment(run: str, order: Json, paths: dict[str, str]) -> dict[str, str]:
    """The job contract: what the caller set wins over our defaults, and GPURUN_* is always ours."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    environment.pop(HOME_VARIABLE, None)
    homes = [home for home in PYTHON_HOMES if order["owned"] and os.path.isdir(home)]
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
    environment.pop("GPURUN_CHAMPION_DIR", None)
    if os.path.isdir(paths["champion"]):
        environment["GPURUN_CHAMPION_DIR"] = paths["champion"]
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
