"""Whether a process that wrote its id down is still that process: ids are used again, start times are not."""

from __future__ import annotations

import subprocess
from pathlib import Path


def started(pid: int) -> str | None:
    """When the process began, as text to compare; `None` when there is none.

    Linux: field 22 of /proc/PID/stat (proc(5)). Elsewhere: what `ps -o lstart` prints.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            text = stat.read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def alive(pid: int | None, start: str | None) -> bool:
    """Whether process `pid`, begun at `start`, still runs."""
    return pid is not None and start is not None and started(pid) == start
