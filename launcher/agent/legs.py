"""A job's legs, one after the other and again: each executed, measured, judged and written down.

It runs in the place of the job's command: what it says and what its legs say is the job's log, its end the job's end.
A trial that was cut off since its machine was taken is begun anew on the next one; those that were finished are kept.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import traceback
from typing import TYPE_CHECKING

from . import gpu
from .contract import job_environment
from .files import write_atomically
from .job import run_paths
from .lastline import last_line, size_bytes
from .machine import machine
from .progress import Progress
from .smallparent import adopt_orphans, start
from .stopping import Stopping
from .trial import Place, Run, attend
from .usage import oom_kills
from .verdict import DONE, FAILED, NO_DEVICE, End, verdict

if TYPE_CHECKING:
    from .wire import Json

CUT_OFF_STATUS = 143
BASH = ("bash", "-e", "-o", "pipefail")
CUT_OFF = "it was cut off: the job was asked to end"
NO_GPU = "the machine has no GPU: it was not executed"


def run_legs(run: str, order: Json) -> int:
    """Execute all legs; gives the job's exit status: 0 if all were done, 143 if they were asked to end."""
    try:
        close_inherited()
        return Driver(run, order).work()
    except Exception:  # noqa: BLE001  (the log is where it is looked for; a process of its own ends here)
        say(run_paths(run)["log"], f"the legs cannot go on:\n{traceback.format_exc()}")
        return 1


def close_inherited() -> None:
    """Let go of the supervisor's files: its lock tells that it lives, its pipes that it is gone."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.close(int(name))


class Driver:
    """Everything that the trials share."""

    def __init__(self, run: str, order: Json) -> None:
        self.run = run
        self.order = order
        self.paths = run_paths(run)
        self.stopping = Stopping(order["grace_s"])
        self.adopting = adopt_orphans()
        self.cut_off = False
        """Whether the last trial was."""
        self.progress = Progress(os.path.join(self.paths["checkpoint"], "legs"))
        self.machine = machine()
        found = gpu.look(gpu.FIRST_ANSWER_S)
        self.answering = found is not None
        """Whether nvidia-smi does: where it did not once, no trial is kept waiting for it."""
        if found is not None:
            self.machine.update(gpu=found.name, driver=found.driver)

    def work(self) -> int:
        """All trials, a leg after the other, then all again."""
        states = []
        for repeat in range(1, self.order["repeats"] + 1):
            for number, leg in enumerate(self.order["legs"], 1):
                if self.stopping.wanted:
                    return CUT_OFF_STATUS
                where = f"leg {number} of {len(self.order['legs'])}, {leg['name']}"
                states.append(self.trial(leg, repeat, f"{where}, repeat {repeat} of {self.order['repeats']}"))
        return CUT_OFF_STATUS if self.cut_off else int(set(states) != {DONE})

    def trial(self, leg: Json, repeat: int, title: str) -> str:
        """One trial, unless it is finished already; gives its state. What the disk does not take makes it fail."""
        place = Place(self.paths, leg["name"], repeat)
        name = f"{leg['name']}/{repeat}"
        kept = place.recorded(leg["name"], repeat) if name in self.progress.finished else None
        if kept is not None:
            self.say(f"{title}: finished before ({kept.get('state')}), kept")
            return str(kept.get("state"))
        try:
            place.empty()
            again = self.progress.begin(name)
            self.say(title + (": begun anew, since it was cut off" if again else ""))
            record = dict(self.measure(leg, repeat, place), again=again)
            place.write(record)
        except OSError as error:
            self.say(f"{title}: failed: {error.filename or self.run}: {error.strerror}")
            return FAILED
        if not self.cut_off:
            self.note_finished(name)
        elapsed_s = (record["usage"] or {}).get("elapsed_s")
        took = "" if elapsed_s is None else f" after {elapsed_s:.2f} s"
        self.say(f"{title}: {record['state']}{took}" + (f": {record['reason']}" if record["reason"] else ""))
        return str(record["state"])

    def note_finished(self, name: str) -> None:
        """Keep the trial from being begun again elsewhere; a full disk costs that."""
        try:
            self.progress.finish(name)
        except OSError as error:
            self.say(f"{name}: on another machine it would be done again: {error.strerror}")

    def measure(self, leg: Json, repeat: int, place: Place) -> Json:
        """Execute the leg; gives its record. Raises `OSError`."""
        record: Json = {
            "leg": leg["name"],
            "repeat": repeat,
            "state": NO_DEVICE,
            "reason": NO_GPU,
            "exit_status": None,
            "began_at": time.time(),
            "usage": None,
            "gpu": None,
            "machine": self.machine,
        }
        if leg["device"] == "gpu" and not (self.answering or gpu.has_device()):
            return record
        environment = self.environment(leg, repeat, place)
        watch = gpu.Watch(os.getpid(), answering=self.answering, sparing=leg["device"] == "cpu")
        ooms, written = oom_kills(), size_bytes(self.paths["log"])
        record["began_at"] = time.time()
        watch.start()
        try:
            found = self.execute(self.command(leg), environment, watch)
        finally:
            watch.close()
        self.cut_off = found.cut_off
        last = last_line(self.paths["log"], written) if found.status and found.usage else ""
        end = End(found.status, out_of_memory=bool(found.status) and not self.cut_off and oom_kills() > ooms)
        backend = environment.get("GPURUN_BACKEND") or environment.get("KERAS_BACKEND", "")
        state, reason = (FAILED, CUT_OFF) if self.cut_off else verdict(leg["device"], backend, end, watch, place.output)
        if found.left_behind:
            self.say(f"{leg['name']}: {found.left_behind} processes that it left running were ended")
        told = {"state": state, "reason": reason, "exit_status": found.status, "last_line": last}
        return dict(record, usage=found.usage, gpu=watch.use(), **told)

    def environment(self, leg: Json, repeat: int, place: Place) -> dict[str, str]:
        """The job contract with the leg's own device, floatX and folders."""
        order = dict(self.order, device=leg["device"], floatx=leg["floatx"], env={**self.order["env"], **leg["env"]})
        own = {"output": place.output, "checkpoint": place.checkpoint, "keras": place.keras}
        environment = job_environment(self.run, order, {**self.paths, **own})
        environment.update(GPURUN_LEG=leg["name"], GPURUN_REPEAT=str(repeat), PWD=self.paths["code"])
        backend = leg["env"].get("GPURUN_BACKEND")
        if backend and "KERAS_BACKEND" not in leg["env"]:
            environment["KERAS_BACKEND"] = backend
        return environment

    def command(self, leg: Json) -> list[str]:
        """The leg's own command, else the job's; raises `OSError`."""
        if leg["argv"]:
            return list(leg["argv"])
        script = leg["script"] or self.order["script"]
        if not script:
            return list(self.order["argv"])
        path = f"{self.paths['job.sh']}.{leg['name']}"
        write_atomically(path, script)
        return [*BASH, path]

    def execute(self, argv: list[str], environment: dict[str, str], watch: gpu.Watch) -> Run:
        """Run the program to its end; one that cannot be executed ends as in a shell, and used nothing."""
        problem = problem_of(argv[0], environment["PATH"])
        if problem:
            self.say(f"{argv[0]}: {'No such file or directory' if problem == 127 else 'Permission denied'}")
            return Run(problem, None, cut_off=False, left_behind=0)
        started = start(argv, environment, adopting=self.adopting)
        return attend(started, self.stopping, watch.close)

    def say(self, text: str) -> None:
        """A line of our own in the log."""
        say(self.paths["log"], text)


def problem_of(program: str, path: str) -> int:
    """127 where there is no such program, 126 where it cannot be executed, else 0."""
    if shutil.which(program, path=path):
        return 0
    return 126 if os.sep in program and os.path.exists(program) else 127


def say(log: str, text: str) -> None:
    """A line in the log, on a line of its own whatever the leg wrote last; a full disk takes none."""
    with contextlib.suppress(OSError):
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            begun = file.read(1) not in {b"", b"\n"}
        line = f"{chr(10) if begun else ''}gpurun: {text}\n"
        os.write(1, line.encode("utf-8", "surrogateescape"))
