"""What nvidia-smi says of the GPUs: asked once, or again and again while something runs.

It may be missing, slow, failing or talking nonsense: that costs figures, never more.
"""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from .processes import descendants

if TYPE_CHECKING:
    from .wire import Json

GPUS = ("--query-gpu=name,driver_version,utilization.gpu,memory.used", "--format=csv,noheader,nounits")
APPS = ("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
FIRST_ANSWER_S = 30.0
"""Without a persistence daemon the first question wakes the driver, which takes seconds for each GPU."""
ANSWER_S = 10.0
LAST_WAIT_S = 1.0
LOOK_EVERY_S = 1.0
LOOK_SHARE = 20
"""Where the processors are what is measured, no more than a twentieth of the time goes into looking."""
IDLE_BYTES = 64 << 20
"""More than this above what was used before: somebody computes there."""
IDLE_PERCENT = 5.0
ENOUGH_LOOKS = 3
MIB = 1 << 20


class Look(NamedTuple):
    """All GPUs at one moment."""

    name: str
    driver: str
    percent: float | None
    memory_bytes: int | None
    pids: frozenset[int]
    """Of those that compute there; in a container nvidia-smi may not name them."""


def has_device() -> bool:
    """Whether there is a GPU's device file, whatever nvidia-smi says."""
    return bool(glob.glob("/dev/nvidia[0-9]*"))


def look(patience_s: float) -> Look | None:
    """The GPUs now; `None` where nothing is to be learnt."""
    gpus = rows_of(ask(GPUS, patience_s), 4)
    if not gpus:
        return None
    percents = [float(row[2]) for row in gpus if is_number(row[2])]
    used_mib = [float(row[3]) for row in gpus if is_number(row[3])]
    return Look(
        name=", ".join(row[0] for row in gpus),
        driver=gpus[0][1],
        percent=sum(percents) / len(percents) if percents else None,
        memory_bytes=int(sum(used_mib) * MIB) if used_mib else None,
        pids=frozenset(int(row[0]) for row in rows_of(ask(APPS, patience_s), 2) if row[0].isdigit()),
    )


def ask(question: tuple[str, ...], patience_s: float) -> str:
    """What nvidia-smi answers; empty where it does not."""
    with contextlib.suppress(OSError):
        process = subprocess.Popen(
            ["nvidia-smi", *question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
        try:
            answer = process.communicate(timeout=patience_s)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LAST_WAIT_S)  # one that the driver does not let go never ends
            return ""
        finally:
            if process.stdout:
                process.stdout.close()
        return answer if process.returncode == 0 else ""
    return ""


def rows_of(answer: str, columns: int) -> list[list[str]]:
    """The lines with so many values."""
    rows = [[value.strip() for value in line.split(",")] for line in answer.splitlines()]
    return [row for row in rows if len(row) == columns]


def is_number(text: str) -> bool:
    """Whether it is a plain figure, and not `[N/A]` or a message."""
    return text.replace(".", "", 1).isdecimal() and text.isascii()


class Watch:
    """Looks at the GPUs every second until it is closed, and makes out whether a trial computes there."""

    def __init__(self, ancestor: int, *, answering: bool, sparing: bool) -> None:
        self.ancestor = ancestor
        """All that the trial begins descends from it."""
        self.share = LOOK_SHARE if sparing else 0
        self.idle = look(ANSWER_S) if answering else None
        self.looks: list[Look] = []
        self.by_pid = False
        self.others = False
        """A process of this machine that is not the trial's was seen: then numbers can be told apart here."""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, name="gpu", daemon=True)

    def start(self) -> None:
        """Begin to look; not at all where there is nothing to be seen."""
        if self.idle is not None:
            self.thread.start()

    def work(self) -> None:
        """Look, with a rest between two looks."""
        took_s = 0.0
        while not self.over.wait(max(LOOK_EVERY_S, self.share * took_s)):
            began = time.monotonic()
            found = look(ANSWER_S)
            took_s = time.monotonic() - began
            if found is not None and not self.over.is_set():
                self.looks.append(found)
                ours = descendants(self.ancestor)
                self.by_pid = self.by_pid or bool(found.pids & ours)
                self.others = self.others or any(is_here(pid) for pid in found.pids - ours)

    def close(self) -> None:
        """Look no more."""
        self.over.set()
        if self.thread.is_alive():
            self.thread.join(2 * ANSWER_S + 1)

    def most_bytes(self) -> int | None:
        """Of the memory in use at once."""
        return max((found.memory_bytes for found in self.looks if found.memory_bytes is not None), default=None)

    def percents(self) -> list[float]:
        """The use at each look that told it."""
        return [found.percent for found in self.looks if found.percent is not None]

    def busy(self) -> bool:
        """Whether the GPUs were used beyond what they were before."""
        if self.idle is None:
            return False
        more_bytes = (self.most_bytes() or 0) - (self.idle.memory_bytes or 0)
        more_percent = max(self.percents(), default=0.0) - (self.idle.percent or 0.0)
        return more_bytes > IDLE_BYTES or more_percent > IDLE_PERCENT

    def telling(self) -> bool:
        """Whether enough was seen that who was not seen was not there."""
        return len(self.looks) >= ENOUGH_LOOKS and self.most_bytes() is not None

    def by_job(self) -> bool:
        """Whether the trial computed there: by its processes' numbers, or where those are hidden by the use."""
        return self.by_pid or (not self.others and self.busy())

    def use(self) -> Json:
        """What there is to say, as `launcher.comparison.GpuUse`; `None` without a look."""
        if not self.looks:
            return None
        percents = self.percents()
        return {
            "name": self.looks[-1].name,
            "driver": self.looks[-1].driver,
            "samples": len(self.looks),
            "mean_percent": sum(percents) / len(percents) if percents else None,
            "max_memory_bytes": self.most_bytes() or 0,
            "by_job": self.by_job(),
        }


def is_here(pid: int) -> bool:
    """Whether there is a process of that number: outside our container the same numbers mean others."""
    return os.path.exists(f"/proc/{pid}")
