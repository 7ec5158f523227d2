"""The way to a host: admitted or not, cut or whole."""

from __future__ import annotations

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any


def test_a_caller_who_is_not_admitted_hears_nothing_until_the_rule_is_there(
    bench: Any, banner: Callable[[int, float], bytes]
) -> None:
    booted = bench.boot().wait()
    bench.admitted = False
    assert banner(booted.host.ssh_port, 0.5) == b""
    assert ("127.0.0.1", 22) in bench.asked
    threading.Timer(0.4, lambda: setattr(bench, "admitted", True)).start()
    assert banner(booted.host.ssh_port, 5) == b"SSH-"


def test_a_cut_line_stalls_and_loses_nothing(bench: Any, banner: Callable[[int, float], bytes]) -> None:
    booted = bench.boot().wait()
    count = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.05; done"
    with subprocess.Popen(["ssh", *booted.options, "host", count], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        booted.host.partition(cut=True)
        assert banner(booted.host.ssh_port, 0.5) == b""
        time.sleep(0.6)  # the command goes on meanwhile, and must not be done when the line heals
        assert process.poll() is None
        booted.host.partition(cut=False)
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert (first + rest).decode().split("\n") == [*(f"line {number}" for number in range(2000)), ""]


def test_release_ends_a_cut_line_too(bench: Any) -> None:
    booted = bench.boot().wait()
    with subprocess.Popen(
        ["ssh", *booted.options, "host", "echo up; sleep 60"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        booted.host.partition(cut=True)
        booted.host.release()
        assert process.wait(10) == 255


def test_large_streams_arrive_whole_both_ways(bench: Any) -> None:
    booted = bench.boot().wait()
    data = hashlib.sha512(b"seed").digest() * (1 << 18)
    done = booted.ssh("tee >(sha256sum >&2) | cat", stdin=data)
    assert done.stdout == data
    assert done.stderr.decode().split()[0] == hashlib.sha256(data).hexdigest()
