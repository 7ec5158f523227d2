"""Ends what a test process leaves, however it dies: run as a program beside it, which its end wakes up.

    python keeper.py FOLDER

FOLDER is the temporary folder of one test process: what runs there, is mounted there or has a sandbox there was begun
by it. A test run that came to its end has ended all that itself; what is found then is told.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

PATIENCE_S = 10.0


def main() -> None:
    folder = Path(sys.argv[1])
    sys.stdin.read()  # until the last holder of the other end is gone
    found = [*_sandboxes(folder), *_processes(folder), *_mounts(folder)]
    if found:
        sys.stderr.write("".join(f"left by the tests, and ended: {each}\n" for each in found))


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Have a folder looked after, in a session that a Ctrl-C does not reach."""
    return subprocess.Popen([sys.executable, __file__, folder], stdin=subprocess.PIPE, start_new_session=True)


def _sandboxes(folder: Path) -> Iterator[str]:
    """Those that run, each with its hosts."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "launcher.sandbox.daemon" in words and "--state" in words:
            state = Path(words[words.index("--state") + 1])
            if state.is_relative_to(folder):
                from launcher.sandbox import control

                control.stop(state)
                yield f"the sandbox in {state}"


def _processes(folder: Path) -> Iterator[str]:
    """Younger ones with a place in the folder in their command, as current folder, or in their environment."""
    begun, me = [], psutil.Process()
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), f"{process.cwd()}/", *process.environ().values()]
            younger = process.create_time() > me.create_time()
        except psutil.Error:
            continue
        if younger and any(f"{folder}/" in word for word in words):
            yield f"process {process.pid} {' '.join(process.cmdline())[:200]}"
            process.kill()
            begun.append(process)
    psutil.wait_procs(begun, PATIENCE_S)


def _mounts(folder: Path) -> Iterator[str]:
    """The innermost first."""
    if not Path("/proc/self/mounts").exists():
        return
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for place in reversed([Path(line.split()[1].encode().decode("unicode_escape")) for line in lines]):
        if place.is_relative_to(folder):
            subprocess.run(["umount", "-l", place], check=False)
            yield f"a file system at {place}"


if __name__ == "__main__":
    main()
