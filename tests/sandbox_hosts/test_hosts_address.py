"""The laptop's address changes: old lines go silent and are never told, new ones are judged anew."""

from __future__ import annotations

import subprocess
from typing import Any


def test_stranded_lines_fall_silent_and_new_ones_go_through(bench: Any) -> None:
    booted = bench.boot().wait()
    command = "echo up; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; echo $i; done; touch done"
    with subprocess.Popen(
        ["ssh", *booted.options, "host", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == b"up\n"
        booted.host.strand()
        bench.until(lambda: booted.ssh("test -e done").returncode == 0, "the end of the command over there")
        assert old.poll() is None  # neither end was told anything
        old.kill()
        assert old.stdout.read() == b""
    assert booted.out("echo again") == "again"


def test_a_client_that_asks_whether_anybody_is_there_finds_out(bench: Any) -> None:
    booted = bench.boot().wait()
    alive = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
    with subprocess.Popen(
        ["ssh", *booted.options, *alive, "host", "echo up; sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == b"up\n"
        booted.host.strand()
        assert old.wait(10) == 255


def test_the_host_s_own_lines_to_the_cloud_stay(isolating: Any) -> None:
    """The metadata service too is not the laptop's."""
    booted = isolating.boot().wait()
    booted.host.strand()
    token = "curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
    assert booted.out(token) == "token"
