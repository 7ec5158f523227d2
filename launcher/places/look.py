"""What a machine of the user's own is, asked before anything is written down: processors, memory, GPUs, python3."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from launcher.domain import Gpu
from launcher.errors import NoPython, RemoteError
from launcher.ports import Connection
from launcher.sync.names import told

LOOK_TIMEOUT_S = 60.0
OLDEST_PYTHON = (3, 8)
MOST = 1 << 50
"""Of any figure: a machine may say what it likes."""

# Python 2 and 3, and without a single quote, which a login shell of any kind would read otherwise.
_LOOK = """
import json, os, platform, subprocess, sys
try:
    smi = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    gpus = subprocess.check_output(smi, stderr=open(os.devnull, "w"), stdin=open(os.devnull)).decode("utf-8", "replace")
except Exception:
    gpus = ""
pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
print(json.dumps(dict(python=list(sys.version_info[:3]), cpus=os.sysconf("SC_NPROCESSORS_ONLN"), memory=pages,
    machine=platform.machine(), gpus=gpus)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A machine as it describes itself."""

    python: str
    """Of the `python3` on its PATH, such as 3.11.2."""
    vcpus: int
    memory_bytes: int
    architecture: str
    gpu: Gpu | None
    """As nvidia-smi has it; `None` where it says nothing."""


def look(connection: Connection, name: str) -> Found:
    """Ask a machine what it is; raises `NoPython` where it has none that serves, and `RemoteError`."""
    done = connection.run(f"exec python3 -IS -c {shlex.quote(_LOOK)}", timeout_s=LOOK_TIMEOUT_S)
    if done.status == 127:
        raise NoPython(f"{name} has no python3 on its PATH, which the agent needs", hint="install python3 3.8 or later")
    try:
        answer = json.loads(done.stdout.rstrip().rpartition(b"\n")[2])
        version = tuple(int(part) for part in answer["python"])
        found = Found(
            python=".".join(str(part) for part in version[:3]),
            vcpus=_count(answer["cpus"]),
            memory_bytes=_count(answer["memory"]),
            architecture=told(str(answer["machine"]))[:20],
            gpu=_gpu(str(answer["gpus"])),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        said = told((done.stderr or done.stdout)[-400:].decode(errors="replace")).strip()
        raise RemoteError(
            f"python3 on {name} does not work: {said or f'exit status {done.status}'}",
            hint="python3 --version there; 3.8 or later is needed",
        ) from None
    if version < OLDEST_PYTHON:
        raise NoPython(
            f"python3 on {name} is {found.python}, the agent needs 3.8 or later", hint="install a newer python3 there"
        )
    return found


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST:
        raise ValueError(value)
    return value


def _gpu(text: str) -> Gpu | None:
    """From lines of `NAME, MEMORY IN MIB`; the first names the kind."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    kind, _, memory = lines[0].rpartition(",")
    mib = int(memory) if memory.strip().isdecimal() else 0
    return Gpu(kind=told(kind.strip())[:60], count=len(lines), memory_bytes=min(mib, MOST >> 20) << 20)
