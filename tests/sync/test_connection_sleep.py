"""A laptop that sleeps: a process of its own, stopped for longer than any deadline."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

# The deadlines are those of the product, ten times shorter.
LAPTOP = """\
import json, sys
from pathlib import Path
from launcher.domain import Endpoint, HostKey
from launcher.errors import HostUnreachable
from launcher.sync.ssh import watch
from launcher.sync.ssh.connection import connect

watch.TICK_S, watch.PING_AFTER_S, watch.READ_DEADLINE_S, watch.WOKEN_AFTER_S = 0.05, 0.5, 1.2, 0.4
at = json.loads(sys.argv[1])
key = HostKey(**at.pop("key"))
paths = {name: Path(at.pop(name)) for name in ("key_file", "config_file")}
with connect(Endpoint(host_keys=(key,), **at, **paths), timeout_s=20) as connection:
    stream = connection.open(sys.argv[2])
    print("connected", flush=True)
    try:
        size = 0
        while data := stream.read(1 << 16):
            size += len(data)
            if data.endswith(b"look"):
                print("looked", flush=True)
        print(size, stream.finish().status, flush=True)
    except HostUnreachable as error:
        print(error.message, flush=True)
"""
ASLEEP_S = 3.0


@pytest.fixture
def laptop(sshd) -> Iterator:
    """Start one that runs a command there and reads what it says."""
    started: list[subprocess.Popen[str]] = []

    def start(command: str) -> subprocess.Popen[str]:
        at = {
            "address": "127.0.0.1",
            "user": sshd.user,
            "port": sshd.port,
            "key": {"algorithm": sshd.host_key.algorithm, "base64": sshd.host_key.base64},
            "key_file": str(sshd.key),
            "config_file": str(sshd.folder / "no_config"),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", LAPTOP, json.dumps(at), command], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert line(process) == "connected"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def sleep_through(process: subprocess.Popen[str]) -> float:
    """Close the lid, and open it again; gives the time when that was."""
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(ASLEEP_S)  # what the laptop sleeps through
    woken = time.monotonic()
    os.kill(process.pid, signal.SIGCONT)
    return woken


def test_a_transfer_goes_on_after_the_laptop_slept(laptop) -> None:
    process = laptop("head -c 3000000 /dev/zero; printf look; head -c 30000000 /dev/zero; exit 7")
    sleep_through(process)
    said = line(process)
    if said == "looked":  # where a read happened to end there
        said = line(process)
    assert said == "33000004 7"


def test_a_silent_line_outlives_the_laptops_sleep(laptop, tmp_path) -> None:
    process = laptop(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; printf look")
    sleep_through(process)
    time.sleep(1.5)  # longer than the deadline: a line that was given up at waking shows
    (tmp_path / "go").touch()
    assert line(process) == "looked"
    assert line(process) == "4 0"


def test_a_line_that_died_meanwhile_is_noticed_soon_after_waking(sshd, laptop) -> None:
    process = laptop("exec sleep 600")
    frozen = [other for other in sshd.processes() if other.pid != process.pid]
    for other in frozen:
        try:
            other.suspend()
        except psutil.NoSuchProcess:
            continue
    try:
        woken = sleep_through(process)
        assert "stopped answering" in line(process)
        assert 0.4 < time.monotonic() - woken < 2.5
    finally:
        for other in frozen:
            try:
                other.resume()
            except psutil.NoSuchProcess:
                continue
