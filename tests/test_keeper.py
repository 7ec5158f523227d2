"""A test process that is killed leaves no sandbox, no process and no mount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from launcher.sandbox import control
from tests import keeper

ROOT = Path(__file__).parents[1]
TESTS = """
import subprocess, sys, time
from pathlib import Path
from launcher.sandbox import control
from tests import keeper

folder = Path(sys.argv[1])
keeper.start(folder)
control.start(folder / "sandbox", hosts="none")
sleeping = subprocess.Popen(["sleep", "600"], cwd=folder, start_new_session=True)
print(sleeping.pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_test_process_began_is_ended_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "of the tests"
    folder.mkdir()
    tests = subprocess.Popen(
        [sys.executable, "-c", TESTS, folder],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tests.stdout is not None
    sleeping = int(tests.stdout.readline())
    running = control.status(folder / "sandbox")
    assert running is not None
    tests.send_signal(signal.SIGKILL)
    _, told = tests.communicate(timeout=30)  # its keeper holds the pipes, too
    assert not psutil.pid_exists(running.pid)
    assert not psutil.pid_exists(sleeping)
    assert list(folder.iterdir()) == []
    assert [line.split(":")[1].split()[1] for line in told.splitlines()] == ["sandbox", str(sleeping)], told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_mounts_go_the_innermost_first(tmp_path: Path) -> None:
    it = keeper.start(tmp_path)
    for place in (tmp_path / "one disk", tmp_path / "one disk" / "inner"):
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    it.communicate(timeout=30)
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_what_is_older_or_elsewhere_is_left_alone(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    older = subprocess.Popen(["sleep", "600"], cwd=inside)
    it = keeper.start(inside)
    elsewhere = subprocess.Popen(["sleep", "600"], cwd=tmp_path)
    try:
        it.communicate(timeout=30)
        assert older.poll() is None
        assert elsewhere.poll() is None
    finally:
        for each in (older, elsewhere):
            each.kill()
            each.wait()
