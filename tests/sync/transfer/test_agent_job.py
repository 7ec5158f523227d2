from __future__ import annotations

import ast
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import launcher.agent
from launcher.agent import job as agent_job
from launcher.agent.job import supervised
from launcher.agent.usage import counter, oom_kills
from launcher.domain import JobReport
from launcher.errors import RemoteError
from launcher.sync import remote_agent, stream
from launcher.sync.layout import RemoteLayout


def run(connection: Any, layout: RemoteLayout, job: Any) -> tuple[JobReport, bytes]:
    remote_agent.start(connection, layout, job)
    follower = stream.follow(lambda: connection, layout)
    return (b"".join(follower), follower.report)[::-1]


def state_of(connection: Any, layout: RemoteLayout) -> Any:
    return json.loads((connection.home / layout.state).read_text())


# The contract.


def test_the_job_gets_the_contract(connection: Any, layout: RemoteLayout, job: Any) -> None:
    connection.environment |= {"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22", "LANG": "C"}
    report, log = run(connection, layout, job('env -0; pwd; cat "$KERAS_HOME/keras.json"', env={"MINE": "a 'b' $c"}))
    assert report.exit_status == 0
    *lines, rest = log.decode().split("\0")
    found = dict(line.split("=", 1) for line in lines)
    home = f"{connection.home}/gpurun/digits-7f3a"
    expected = {
        "GPURUN_RUN_ID": "digits-7f3a",
        "GPURUN_DEVICE": "cpu",
        "GPURUN_FLOATX": "float32",
        "GPURUN_DATA_DIR": f"{home}/data",
        "GPURUN_OUTPUT_DIR": f"{home}/output",
        "GPURUN_CHECKPOINT_DIR": f"{home}/checkpoint",
        "CUDA_VISIBLE_DEVICES": "-1",
        "MPLBACKEND": "Agg",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MINE": "a 'b' $c",
    }
    assert {name: found[name] for name in expected} == expected
    assert not {"SSH_CONNECTION", "KERAS_BACKEND"} & set(found)
    working, settings = rest.strip().split("\n")
    assert working == f"{home}/code"
    assert json.loads(settings) == {"floatx": "float32"}
    for name in ("DATA", "OUTPUT", "CHECKPOINT"):
        assert Path(found[f"GPURUN_{name}_DIR"]).is_dir()


def test_what_the_user_sets_wins_but_for_our_own_names(connection: Any, layout: RemoteLayout, job: Any) -> None:
    own = {"MPLBACKEND": "svg", "CUDA_VISIBLE_DEVICES": "3", "GPURUN_RUN_ID": "forged", "KERAS_HOME": "/mine"}
    _, log = run(connection, layout, job("echo $MPLBACKEND $CUDA_VISIBLE_DEVICES $GPURUN_RUN_ID $KERAS_HOME", env=own))
    assert log == b"svg 3 digits-7f3a /mine\n"


def test_a_gpu_job_sees_the_gpus_and_keras_keeps_its_settings(connection: Any, layout: RemoteLayout, job: Any) -> None:
    (connection.home / ".keras").mkdir()
    (connection.home / ".keras/keras.json").write_text('{"backend": "jax", "floatx": "float64"}')
    script = 'echo ${CUDA_VISIBLE_DEVICES-untouched}; cat "$KERAS_HOME/keras.json"'
    _, log = run(connection, layout, job(script, device="gpu", floatx="bfloat16"))
    first, second = log.decode().split("\n")
    assert first == "untouched"
    assert json.loads(second) == {"backend": "jax", "floatx": "bfloat16"}


@pytest.mark.parametrize("argv", [["printf", "%s|", "a b", "", "'q'", "$HOME", "é\n"]])
def test_arguments_arrive_as_they_are(connection: Any, layout: RemoteLayout, job: Any, argv: list[str]) -> None:
    _, log = run(connection, layout, job(argv=argv))
    assert log.decode() == "a b||'q'|$HOME|é\n|"


def test_both_outputs_are_one_log_byte_for_byte(connection: Any, layout: RemoteLayout, job: Any) -> None:
    _, log = run(connection, layout, job("printf 'a\\0\\377'; printf b >&2; printf c"))
    assert log == b"a\0\xffbc"


def test_a_script_stops_at_its_first_failure(connection: Any, layout: RemoteLayout, job: Any) -> None:
    report, log = run(connection, layout, job("echo a\nfalse | true\necho never\n"))
    assert (report.exit_status, log) == (1, b"a\n")


# How it ends.


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -SEGV $$", 139)]
)
def test_the_exit_status_is_as_a_shell_gives_it(
    connection: Any, layout: RemoteLayout, job: Any, script: str, status: int
) -> None:
    report, _ = run(connection, layout, job(script))
    assert (report.state, report.exit_status, report.killed_by_memory) == ("done", status, False)


@pytest.mark.parametrize(
    ("argv", "status", "told"), [(["nowhere"], 127, b"No such file"), (["/etc/passwd"], 126, b"Permission denied")]
)
def test_a_program_that_cannot_run_says_so(
    connection: Any, layout: RemoteLayout, job: Any, argv: list[str], status: int, told: bytes
) -> None:
    report, log = run(connection, layout, job(argv=argv))
    assert report.exit_status == status
    assert log.startswith(b"gpurun: " + argv[0].encode())
    assert told in log


def test_usage_is_the_jobs_own(connection: Any, layout: RemoteLayout, job: Any) -> None:
    # 40 MiB and a third of a second of processor time.
    program = (
        "import time\nx = b'1' * (40 << 20)\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    )
    report, _ = run(connection, layout, job(argv=[sys.executable, "-c", program]))
    assert report.usage
    assert 0.3 <= report.usage.user_s + report.usage.system_s < 3
    assert report.usage.elapsed_s >= 0.3
    assert 40 << 10 < report.usage.max_rss_kib < 100 << 10
    small = RemoteLayout("small")
    report, _ = run(connection, small, job("true"))
    assert report.usage
    assert report.usage.max_rss_kib < 20 << 10


AGENT = Path(launcher.agent.__file__).parent
OOM = """
import sys
sys.path.insert(0, sys.argv[1])
from agent import supervise
counts = iter({counts})
supervise.oom_kills = lambda: next(counts)
supervise.supervise(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("counts", "script", "memory"),
    [([4, 5], "kill -KILL $$", True), ([4, 4], "kill -KILL $$", False), ([4, 5], "exit 0", False)],
)
def test_the_kernels_own_count_tells_a_death_by_memory(
    connection: Any, layout: RemoteLayout, job: Any, counts: list[int], script: str, *, memory: bool
) -> None:
    # A real supervisor and a real death; only the kernel's counter is ours.
    for name in ("code", "data", "output", "checkpoint"):
        (connection.home / layout.home / name).mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-c", OOM.format(counts=counts), AGENT.parent, connection.home / layout.home],
        input=json.dumps(asdict(job(script))).encode(),
        stdout=subprocess.DEVNULL,
        env=connection.environment,
        check=True,
    )
    assert remote_agent.report(connection, layout).killed_by_memory is memory


def test_the_kernels_counter_is_read(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 7\n")
    assert counter(str(tmp_path / "memory.events")) == 7
    (tmp_path / "empty").write_text("")
    with pytest.raises(FileNotFoundError):
        counter(str(tmp_path / "empty"))
    assert oom_kills() >= 0


def test_what_the_job_leaves_running_ends_with_it(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Callable[..., None]
) -> None:
    report, log = run(connection, layout, job("(sleep 300; echo late) & echo $!"))
    assert report.exit_status == 0
    assert report.log_bytes == len(log)
    eventually(lambda: not _running(int(log)))


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except FileNotFoundError:
        return False


# Asked to end.


def test_term_reaches_the_whole_group_and_the_job_may_save(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Callable[..., None]
) -> None:
    script = "trap 'echo saved > \"$GPURUN_CHECKPOINT_DIR/c\"; exit 0' TERM\necho ready\nsleep 300 & wait"
    remote_agent.start(connection, layout, job(script))
    eventually(lambda: stream.read(connection, layout) == b"ready\n")
    assert remote_agent.signal(connection, layout, "TERM").state == "running"
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert follower.report.exit_status == 0
    assert (connection.home / layout.checkpoint / "c").read_text() == "saved\n"
    assert follower.report.ended_by == "signal"


def test_a_job_that_ignores_term_is_killed_after_the_grace(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Callable[..., None]
) -> None:
    remote_agent.start(connection, layout, job("trap '' TERM; echo ready; sleep 300", grace_s=0.5))
    eventually(lambda: stream.read(connection, layout) == b"ready\n")
    began = time.monotonic()
    remote_agent.signal(connection, layout, "TERM")
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert 0.4 < time.monotonic() - began < 5
    assert (follower.report.exit_status, follower.report.killed_by_memory) == (137, False)


def test_kill_is_at_once(connection: Any, layout: RemoteLayout, job: Any) -> None:
    remote_agent.start(connection, layout, job("trap '' TERM; sleep 300", grace_s=60.0))
    remote_agent.signal(connection, layout, "KILL")
    follower = stream.follow(lambda: connection, layout)
    list(follower)
    assert (follower.report.exit_status, follower.report.killed_by_memory) == (137, False)


def test_a_signal_after_the_end_does_nothing(connection: Any, layout: RemoteLayout, job: Any) -> None:
    run(connection, layout, job("exit 4"))
    assert remote_agent.signal(connection, layout, "KILL").exit_status == 4


def test_the_deadline_gives_the_job_its_grace_before_it(connection: Any, layout: RemoteLayout, job: Any) -> None:
    script = "trap 'echo saved; exit 0' TERM\nsleep 300 & wait"
    began = time.monotonic()
    report, log = run(connection, layout, job(script, deadline_in_s=6.0, grace_s=4.0))
    assert 1.9 < time.monotonic() - began < 6
    assert (report.exit_status, log) == (0, b"saved\n")
    assert report.ended_by == "deadline"


def test_the_machines_own_shutdown_lets_the_job_save(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Callable[..., None]
) -> None:
    script = "trap 'echo saved; exit 0' TERM\necho ready\nsleep 300 & wait"
    remote_agent.start(connection, layout, job(script))
    eventually(lambda: stream.read(connection, layout) == b"ready\n")
    supervisor = state_of(connection, layout)["supervisor"]
    os.kill(supervisor, signal.SIGTERM)
    follower = stream.follow(lambda: connection, layout, offset=6)
    assert b"".join(follower) == b"saved\n"
    eventually(lambda: not _running(supervisor))


# Whatever dies.


def test_the_job_outlives_the_line(connection: Any, layout: RemoteLayout, job: Any, gate: Any) -> None:
    remote_agent.start(connection, layout, job(f"{gate.wait}; echo still here"))
    for line in connection.streams:
        line.cut()
        line.close()
    gate.open()
    follower = stream.follow(lambda: connection, layout)
    assert b"".join(follower) == b"still here\n"


def test_starting_twice_starts_once(connection: Any, layout: RemoteLayout, job: Any, gate: Any) -> None:
    script = f'echo started >> "$GPURUN_OUTPUT_DIR/count"; {gate.wait}'
    for _ in range(3):
        assert remote_agent.start(connection, layout, job(script)).state == "running"
    gate.open()
    list(stream.follow(lambda: connection, layout))
    assert remote_agent.start(connection, layout, job(script)).state == "done"
    assert (connection.home / layout.output / "count").read_text() == "started\n"


def test_a_run_that_was_never_started_is_absent(connection: Any, layout: RemoteLayout) -> None:
    assert remote_agent.report(connection, layout) == JobReport(state="absent")


def test_without_its_supervisor_a_job_runs_on_and_its_end_is_lost(
    connection: Any, layout: RemoteLayout, job: Any, eventually: Callable[..., None]
) -> None:
    remote_agent.start(connection, layout, job("echo on; sleep 300"))
    eventually(lambda: stream.read(connection, layout) == b"on\n")
    os.kill(state_of(connection, layout)["supervisor"], signal.SIGKILL)
    eventually(lambda: not supervised(str(connection.home / layout.home)))
    assert remote_agent.report(connection, layout).state == "running"
    remote_agent.signal(connection, layout, "TERM")
    follower = stream.follow(lambda: connection, layout)
    assert b"".join(follower) == b"on\n"
    assert follower.report == JobReport(state="lost", log_bytes=3)
    assert remote_agent.start(connection, layout, job("echo again")).state == "lost"


def test_a_state_from_before_a_reboot_is_lost(connection: Any, layout: RemoteLayout) -> None:
    # The job's number belongs to a living process, which was born on another boot.
    (connection.home / layout.home).mkdir(parents=True)
    state = {"state": "running", "supervisor": os.getpid(), "job": os.getpid(), "job_started": "other-boot:123"}
    (connection.home / layout.state).write_text(json.dumps(state))
    assert remote_agent.report(connection, layout).state == "lost"


FULL = """
import errno, sys
sys.path.insert(0, sys.argv[1])
from agent import supervise
write, tries = supervise.write_atomically, iter(range(1000))

def full(path, text):
    if path.endswith("/state") and '"job"' in text and next(tries) < {count}:
        raise OSError(errno.ENOSPC, "No space left on device", path)
    write(path, text)

supervise.write_atomically = full
supervise.supervise(sys.argv[2])
"""


@pytest.mark.parametrize("count", [1, 3])
def test_a_full_disk_hides_no_job_and_no_end(connection: Any, layout: RemoteLayout, job: Any, count: int) -> None:
    # The disk takes nothing while the job begins: it runs on, and its end is written, by and by.
    for name in ("code", "data", "output", "checkpoint"):
        (connection.home / layout.home / name).mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-c", FULL.format(count=count), AGENT.parent, connection.home / layout.home],
        input=json.dumps(asdict(job("sleep 1.5; exit 3"))).encode(),
        stdout=subprocess.DEVNULL,
        env=connection.environment,
        check=True,
    )
    assert remote_agent.report(connection, layout).exit_status == 3
    assert (connection.home / layout.home / "spare").exists() is False


# A run that goes on here.


def test_a_run_from_another_machine_goes_on_with_its_log(connection: Any, layout: RemoteLayout, job: Any) -> None:
    restored = connection.home / layout.home / "restore/log"
    restored.parent.mkdir(parents=True)
    restored.write_bytes(b"from before\n")
    remote_agent.start(connection, layout, job("echo from here"))
    follower = stream.follow(lambda: connection, layout, offset=5)
    assert b"".join(follower) == b"before\nfrom here\n"
    assert follower.report.log_bytes == 22
    assert not restored.exists()
    assert (connection.home / layout.log).stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_there_is_not_replaced(connection: Any, layout: RemoteLayout, job: Any) -> None:
    for name, text in (("restore/log", "older\n"), ("log", "newer\n")):
        path = connection.home / layout.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    _, log = run(connection, layout, job("echo end"))
    assert log == b"newer\nend\n"


# Secrets.


def test_secrets_reach_the_job_and_rest_nowhere(connection: Any, layout: RemoteLayout, job: Any, gate: Any) -> None:
    secret = "hunter2-0451-swordfish"
    script = f"echo ${{#TOKEN}}; {gate.wait}"
    assert secret not in repr(job(script, secrets={"TOKEN": secret}))
    remote_agent.start(connection, layout, job(script, secrets={"TOKEN": secret}))
    own = state_of(connection, layout)["job"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert secret.encode() not in (process / "cmdline").read_bytes(), process
            if int(process.name) != own and process.name != str(os.getpid()):
                family = (process / "stat").read_text().rpartition(")")[2].split()[3]
                assert family == str(own) or secret.encode() not in (process / "environ").read_bytes(), process
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    gate.open()
    assert b"".join(stream.follow(lambda: connection, layout)) == b"22\n"
    for path in connection.home.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    assert not any(secret in command for command in connection.commands)


def test_the_runs_folder_is_private(connection: Any, layout: RemoteLayout, job: Any) -> None:
    run(connection, layout, job("true"))
    assert (connection.home / layout.home).stat().st_mode & 0o777 == 0o700
    assert (connection.home / layout.log).stat().st_mode & 0o777 == 0o600


# The file itself.


def test_the_agent_is_installed_once_by_its_content(connection: Any, layout: RemoteLayout) -> None:
    remote_agent.install(connection, layout)
    remote_agent.install(connection, layout)
    (folder,) = (connection.home / "gpurun").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in AGENT.glob("*.py"):
        assert (folder / "agent" / path.name).read_bytes() == path.read_bytes()
    remote_agent.report(connection, layout)
    assert len(connection.commands) == 1


def test_a_kept_channel_that_died_is_replaced(connection: Any, layout: RemoteLayout) -> None:
    remote_agent.install(connection, layout)
    connection.idle[0].cut()
    connection.idle[0].process.wait()
    assert remote_agent.report(connection, layout).state == "absent"
    assert len(connection.commands) == 2


def test_two_installers_at_once_do_not_meet(connection: Any, layout: RemoteLayout) -> None:
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(remote_agent.install, connection, layout) for _ in range(6)]:
            done.result()
    assert remote_agent.report(connection, layout).state == "absent"


def test_a_machine_without_python_is_told(connection: Any, layout: RemoteLayout, tmp_path: Path) -> None:
    few = tmp_path / "bin"
    few.mkdir()
    for program in ("bash", "sh", "cat", "mkdir", "mv"):
        (few / program).symlink_to(shutil.which(program) or "")
    connection.environment["PATH"] = str(few)
    with pytest.raises(RemoteError, match="no python3") as caught:
        remote_agent.install(connection, layout)
    assert "python3" in caught.value.hint
    with pytest.raises(RemoteError, match="no python3"):
        remote_agent.report(connection, layout)


def test_the_agent_needs_the_standard_library_alone() -> None:
    for path in AGENT.glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
        assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_the_agent_runs_on_every_python_there_is(
    connection: Any, layout: RemoteLayout, job: Any, tmp_path: Path, version: str
) -> None:
    found = shutil.which(f"python{version}")
    if not found or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} on this machine")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(f'#!/bin/sh\nexec {found} "$@"\n')
    (tmp_path / "bin/python3").chmod(0o755)
    connection.environment["PATH"] = f"{tmp_path / 'bin'}:{connection.environment['PATH']}"
    report, log = run(connection, layout, job("echo hello"))
    assert (report.exit_status, log) == (0, b"hello\n")


def test_no_update_is_put_in_place_while_a_job_starts(
    connection: Any, layout: RemoteLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(connection.home))
    run = str(Path(layout.state).parent)
    asked: list[bool] = []

    def confirm(folder_of_run: str, order: bytes) -> str:
        for folder in ("code", "data"):
            with Path(folder_of_run, f".lock-{folder}").open("a") as file:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            asked.append(True)
        return ""

    monkeypatch.setattr(agent_job, "start_supervisor", confirm)
    agent_job.start(None, {"run": run, "job": {"lease_s": 1.0}})  # type: ignore[arg-type]
    assert asked == [True, True]
    with (connection.home / run / ".lock-code").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
