"""What the job used, and whether the kernel killed for memory."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from .wire import Json


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
