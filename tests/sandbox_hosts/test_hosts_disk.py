"""A host's disk that is full, for real, and has room again."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from launcher.errors import GpurunError

DISK_BYTES = 64 << 20


def test_a_host_has_the_disk_that_it_was_given(isolating: Any) -> None:
    booted = isolating.boot(disk_bytes=DISK_BYTES).wait()
    for place in ("/home/ubuntu", "/tmp", "/var/tmp"):
        assert int(booted.out(f"df -B1 --output=size {place} | tail -1")) == DISK_BYTES


@pytest.mark.parametrize("leave_bytes", [0, 1 << 20])
def test_a_full_disk_refuses_what_does_not_fit_and_keeps_what_is_there(isolating: Any, leave_bytes: int) -> None:
    booted = isolating.boot(disk_bytes=DISK_BYTES).wait()
    booted.out("echo before > kept; head -c 3000000 /dev/zero > old")
    booted.host.fill(leave_bytes)
    done = booted.ssh(f"head -c {leave_bytes + 100_000} /dev/zero > new")
    assert done.returncode != 0
    assert b"No space left on device" in done.stderr
    assert int(booted.out("stat -c %s new")) <= leave_bytes
    assert booted.ssh("echo x > /tmp/other").returncode != 0
    assert booted.out("cat kept") == "before"
    booted.out("rm old; head -c 2000000 /dev/zero > again")
    booted.host.fill(None)
    booted.out("head -c 20000000 /dev/zero > whole")


def test_a_process_that_writes_when_the_disk_fills_is_told(isolating: Any) -> None:
    booted = isolating.boot(disk_bytes=DISK_BYTES).wait()
    script = 'file = open("log", "ab", 0)\nwhile True: file.write(bytes(4096)); time.sleep(0.001)'
    argv = ["ssh", *booted.options, "host", f"python3 -c 'import time\n{script}'"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as writer:
        isolating.until(lambda: booted.ssh("test -s log").returncode == 0, "the first bytes")
        booted.host.fill(0)
        assert writer.stderr is not None
        assert b"No space left on device" in writer.stderr.read()
        assert writer.wait(10) == 1
    assert int(booted.out("stat -c %s log")) > 0


def test_a_disk_that_is_this_computer_s_is_never_filled(every_bench: Any) -> None:
    booted = every_bench.boot().wait()
    with pytest.raises(GpurunError) as refused:
        booted.host.fill(0)
    assert "this computer" in refused.value.message
