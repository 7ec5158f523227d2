"""What this machine is: processor, memory, system."""

from __future__ import annotations

import contextlib
import os
import platform

from .wire import Json


def machine() -> Json:
    """The machine in a few words and figures; what cannot be found out is empty or 0."""
    return {
        "processor": processor(),
        "vcpus": vcpus(),
        "memory_bytes": memory_bytes(),
        "system": f"{distribution()}, {platform.system()} {platform.release()} {platform.machine()}",
        "gpu": "",
        "driver": "",
    }


def processor() -> str:
    """Its name, as Linux has it; else its architecture."""
    return field("/proc/cpuinfo", "model name", ":") or platform.processor() or platform.machine()


def vcpus() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 0


def memory_bytes() -> int:
    """Of the machine, or of our control group where that has less."""
    found = 0
    with contextlib.suppress(ValueError, OSError):
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
        return min(found, int(file.read()))  # the root group has no such file, and "max" is no number
    return found


def distribution() -> str:
    """The system's name and version; see os-release(5)."""
    return field("/etc/os-release", "PRETTY_NAME", "=").strip("\"'") or platform.system()


def field(path: str, name: str, sign: str) -> str:
    """The value of the first line `name SIGN value` in a file; empty where there is none."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, found, value = line.partition(sign)
            if found and key.strip() == name:
                return value.strip()
    return ""
