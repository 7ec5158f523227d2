"""The line to this machine: commands as local processes, over pipes."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.errors import CommandFailed, HostUnreachable, SpecError
from launcher.sync.pipes import PipeConnection, PipeLines, shell_here


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[PipeConnection]:
    it = PipeConnection(tmp_path)
    yield it
    it.close()


def test_a_command_s_output_error_and_status_come_back(connection) -> None:
    done = connection.run("cat; echo wrong >&2; exit 5", stdin=b"in\0put")
    assert (done.status, done.stdout, done.stderr) == (5, b"in\0put", b"wrong\n")


def test_a_long_input_and_a_long_output_do_not_wait_for_each_other(connection) -> None:
    data = b"x" * 3_000_000
    assert connection.run("head -c 2000000 /dev/zero; cat", stdin=data).stdout == bytes(2_000_000) + data


def test_a_signal_s_status_is_as_a_shell_gives_it(connection) -> None:
    assert connection.run("kill -KILL $$").status == 128 + signal.SIGKILL


def test_it_begins_in_its_home_with_the_caller_s_environment(connection, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MINE", "my value")
    assert connection.run("pwd; echo $MINE; echo $HOME").stdout.decode().split("\n")[:3] == [
        str(tmp_path),
        "my value",
        os.environ.get("HOME", ""),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(data=st.binary(max_size=300_000))
def test_bytes_pass_both_ways_at_once_whole(connection, data: bytes) -> None:
    stream = connection.open("cat")
    writer = threading.Thread(target=lambda: (stream.write(data), stream.close_input()))
    writer.start()
    got = b"".join(iter(lambda: stream.read(1 << 16), b""))
    writer.join()
    assert got == data
    assert stream.finish().status == 0


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(connection) -> None:
    with pytest.raises(CommandFailed, match="in time") as failed:
        connection.run("sleep 77 & sleep 77", timeout_s=0.3)
    assert failed.value.status == 124
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "77"]]


def test_writing_to_a_command_that_has_ended_tells_why(connection) -> None:
    stream = connection.open("echo no room >&2; exit 3")
    stream.finish()
    stream = connection.open("exec 0<&-; echo no room >&2; exit 3")
    stream._process.wait()
    with pytest.raises(CommandFailed) as failed:
        stream.write(b"x" * (1 << 20))
    assert (failed.value.status, failed.value.stderr) == (3, "no room\n")


def test_a_reader_is_let_go_when_another_thread_closes(connection) -> None:
    stream = connection.open("sleep 88")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(stream.read(10)))
    reader.start()
    stream.close()
    reader.join(5)
    assert got == [b""]
    assert not stream.alive()


def test_closing_the_connection_ends_what_runs_on_it(tmp_path) -> None:
    lines = PipeLines(tmp_path / "here")
    connection = lines.control.fresh(1.0)
    stream = connection.open("sleep 99")
    lines.close()
    assert not stream.alive()
    assert not connection.alive()
    with pytest.raises(HostUnreachable):
        connection.open("true")
    assert lines.control.fresh(1.0).run("echo again").stdout == b"again\n"
    lines.close()
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700


def test_a_shell_in_a_folder_that_is_not_there_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(SpecError, match="no folder"):
        shell_here(tmp_path / "gone", ["true"])
