"""A job's legs, one after the other: what each is given, how it ends, what it leaves to the others."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import spec
from launcher.agent.legorder import check_legs
from launcher.agent.trial import Place
from launcher.agent.wire import Refusal
from launcher.domain import Device, FloatX, JobSpec, LegOrder
from launcher.errors import RemoteError, SpecError
from launcher.sync import remote_agent
from tests.sync.transfer.legs import leg, output_of, progress, record, run


def spec_of(*names: str, **changes: Any) -> JobSpec:
    legs = tuple(LegOrder(name=name, device=Device.CPU, floatx=FloatX.FLOAT32) for name in names)
    return JobSpec(**{"name": "x", "argv": ("true",), "workdir": Path("/"), "legs": legs, **changes})


# In turn.


def test_legs_take_turns_each_with_its_own_environment_and_folders(connection: Any, layout: Any, job: Any) -> None:
    script = """
        echo "$GPURUN_LEG $GPURUN_REPEAT $GPURUN_DEVICE $GPURUN_FLOATX $MINE ${GPURUN_BACKEND-none}"
        test "$PWD" = "$(pwd -P)"
        cat "$KERAS_HOME/keras.json" > "$GPURUN_OUTPUT_DIR/keras.json"
        env > "$GPURUN_OUTPUT_DIR/env"
        ls -A "$GPURUN_CHECKPOINT_DIR" > "$GPURUN_OUTPUT_DIR/found"
        touch "$GPURUN_CHECKPOINT_DIR/saved"
        printf "no end of line"
    """
    legs = [
        leg("cpu-float32"),
        leg("cpu-float64.jax", floatx="float64", env={"GPURUN_BACKEND": "jax", "MINE": "leg"}),
        leg("own", argv=(sys.executable, "-c", "print('own', end='')")),
    ]
    report, log = run(connection, layout, job(script, env={"MINE": "job"}, legs=legs, repeats=2))
    assert report.exit_status == 0
    told = []
    for repeat in (1, 2):
        for number, (name, line) in enumerate(
            [
                ("cpu-float32", f"cpu-float32 {repeat} cpu float32 job none\nno end of line\n"),
                ("cpu-float64.jax", f"cpu-float64.jax {repeat} cpu float64 leg jax\nno end of line\n"),
                ("own", "own\n"),
            ],
            1,
        ):
            title = f"gpurun: leg {number} of 3, {name}, repeat {repeat} of 2"
            told.append(f"{title}\n{line}{title}: done after # s\n")
    assert re.sub(r"after [\d.]+ s", "after # s", log) == "".join(told)
    for name, floatx in (("cpu-float32", "float32"), ("cpu-float64.jax", "float64")):
        for repeat in (1, 2):
            output = output_of(connection, layout, name, repeat)
            assert json.loads((output / "keras.json").read_text())["floatx"] == floatx
            assert (output / "found").read_text() == ""
            assert (connection.home / layout.checkpoint / "legs" / name / str(repeat) / "saved").is_file()
            assert sorted(path.name for path in output.iterdir()) == ["env", "found", "gpurun-trial.json", "keras.json"]
    environment = (output_of(connection, layout, "cpu-float64.jax") / "env").read_text().splitlines()
    assert {"CUDA_VISIBLE_DEVICES=-1", "KERAS_BACKEND=jax", "MPLBACKEND=Agg"} <= set(environment)
    assert "KERAS_BACKEND" not in (output_of(connection, layout, "cpu-float32") / "env").read_text()


def test_a_record_says_what_there_is_to_say(connection: Any, layout: Any, job: Any) -> None:
    programs = connection.home / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").symlink_to("/bin/false")
    connection.environment["PATH"] = f"{programs}:{connection.environment['PATH']}"
    run(connection, layout, job("exit 0", legs=[leg("a")]))
    found = record(connection, layout, "a")
    assert {name: found[name] for name in ("leg", "repeat", "state", "reason", "exit_status", "again", "gpu")} == {
        "leg": "a", "repeat": 1, "state": "done", "reason": "", "exit_status": 0, "again": 0, "gpu": None,
    }  # fmt: skip
    assert abs(found["began_at"] - time.time()) < 60
    assert found["usage"]["minor_faults"] > 0
    machine = found["machine"]
    assert machine["vcpus"] == len(os.sched_getaffinity(0))
    assert machine["memory_bytes"] > 1 << 28
    assert all(machine[name] for name in ("processor", "system"))
    assert (machine["gpu"], machine["driver"]) == ("", "")
    assert progress(connection, layout) == {"begun": {"a/1": 1}, "finished": ["a/1"]}


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        ("exit 3", 3, "exit status 3"),
        ("kill -SEGV $$", 139, "it was killed by SIGSEGV"),
        ("exit 200", 200, "exit status 200"),
    ],
)
def test_a_leg_that_fails_leaves_the_others_alone(
    connection: Any, layout: Any, job: Any, script: str, status: int, reason: str
) -> None:
    report, log = run(connection, layout, job(legs=[leg("bad", script), leg("good", "echo fine")]))
    assert report.exit_status == 1
    bad, good = record(connection, layout, "bad"), record(connection, layout, "good")
    assert (bad["state"], bad["exit_status"], bad["reason"]) == ("failed", status, reason)
    assert good["state"] == "done"
    assert "fine\n" in log
    assert f": {reason}\n" in log
    assert bad["last_line"] == ""


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo before; echo 'ValueError: no such type' >&2; echo; exit 3", "ValueError: no such type"),
        ("printf 'epoch 1\\repoch 2'; exit 3", "epoch 2"),
        ("head -c 9000 /dev/zero | tr '\\0' x; exit 3", "x" * 200),
    ],
)
def test_what_a_failing_leg_wrote_last_is_in_its_record(
    connection: Any, layout: Any, job: Any, script: str, line: str
) -> None:
    run(connection, layout, job(legs=[leg("good", "echo fine"), leg("bad", script)]))
    assert record(connection, layout, "bad")["last_line"] == line
    assert record(connection, layout, "good")["last_line"] == ""


@pytest.mark.parametrize(
    ("argv", "status", "told"),
    [
        (("nowhere",), 127, "gpurun: nowhere: No such file or directory"),
        (("./nowhere",), 127, "gpurun: ./nowhere: No such file or directory"),
        (("/etc/passwd",), 126, "gpurun: /etc/passwd: Permission denied"),
    ],
)
def test_a_command_that_cannot_run_says_so(
    connection: Any, layout: Any, job: Any, argv: tuple[str, ...], status: int, told: str
) -> None:
    report, log = run(connection, layout, job(legs=[leg("bad", argv=argv), leg("good", "true")]))
    assert report.exit_status == 1
    assert told in log.splitlines()
    found = record(connection, layout, "bad")
    assert (found["state"], found["exit_status"], found["usage"]) == ("failed", status, None)
    assert record(connection, layout, "good")["state"] == "done"


@pytest.mark.parametrize("argument", ["a b", "", "'q'", "$HOME", "é\n", "-c", "`id`", '"'])
def test_arguments_and_variables_arrive_as_they_are(connection: Any, layout: Any, job: Any, argument: str) -> None:
    env = {"MINE": argument, "odd.name": argument}
    report, log = run(connection, layout, job(legs=[leg("a", argv=("printf", "<%s>", argument)), leg("b", 'printf "<%s>" "$MINE"', env=env)]))  # fmt: skip  # noqa: E501
    assert report.exit_status == 0
    assert log.count(f"<{argument}>") == 2


def test_a_leg_reads_nothing_and_holds_no_files_of_ours(connection: Any, layout: Any, job: Any) -> None:
    script = f"""{sys.executable} -c '
import os, signal, sys
print("read", sys.stdin.read(), "open", [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{{fd}}")][1:])
print([signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD)],
      signal.getsignal(signal.SIGINT) == signal.default_int_handler, os.getpgrp() != os.getsid(0))'
    """
    _, log = run(connection, layout, job(legs=[leg("a", script)]))
    assert "read  open []\n[True, True, True] True True\n" in log


def test_what_a_leg_leaves_running_is_ended_before_the_next(connection: Any, layout: Any, job: Any) -> None:
    daemon = "import os, time; os.setsid(); open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    first = f'sleep 600 & {sys.executable} -c "{daemon}" & while [ ! -s pid ]; do sleep 0.01; done; kill -0 $(cat pid)'
    report, log = run(connection, layout, job(legs=[leg("a", first), leg("b", "! kill -0 $(cat pid)")]))
    assert report.exit_status == 0, log
    assert "gpurun: a: 2 processes that it left running were ended" in log


def test_a_leg_that_ends_its_own_group_ends_nothing_else(connection: Any, layout: Any, job: Any) -> None:
    report, _ = run(connection, layout, job(legs=[leg("a", "kill 0; sleep 600"), leg("b", "true")]))
    assert report.exit_status == 1
    assert record(connection, layout, "a")["reason"] == "it was killed by SIGTERM"
    assert record(connection, layout, "b")["state"] == "done"


def test_peak_memory_is_the_legs_own(connection: Any, layout: Any, job: Any) -> None:
    program = "x = b'1' * (100 << 20)"
    legs = [
        leg("tiny", argv=("/bin/true",)),
        leg("large", argv=(sys.executable, "-c", program)),
        leg("again", argv=("/bin/true",)),
    ]
    run(connection, layout, job(legs=legs))
    tiny, large, again = (
        record(connection, layout, name)["usage"]["max_rss_kib"] for name in ("tiny", "large", "again")
    )
    assert tiny < 4 << 10
    assert again < 4 << 10
    assert 100 << 10 < large < 140 << 10


# Names.


names = st.text(st.sampled_from("ab-AB.=_,@+ /\\\0é*"), max_size=6) | st.text(max_size=140) | st.just("x" * 129)


@given(st.lists(names, min_size=1, max_size=3))
def test_both_sides_refuse_the_same_names(found: list[str]) -> None:
    def refuses(check: Any, asked: Any) -> bool:
        try:
            check(asked)
        except (SpecError, Refusal):
            return True
        return False

    here = refuses(spec.check_legs, spec_of(*found))
    assert here == refuses(check_legs, {"legs": [{"name": name} for name in found]})
    if not here:
        assert all(
            Path("x", name).resolve().parent == Path("x").resolve() and name not in {".", ".."} for name in found
        )


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-rf", "a b", "é", "a\n", "x" * 129])
def test_a_machine_takes_no_leg_that_leads_elsewhere(connection: Any, layout: Any, job: Any, name: str) -> None:
    with pytest.raises(RemoteError, match="cannot be called"):
        remote_agent.start(connection, layout, job("true", legs=[leg(name)]))
    with pytest.raises(SpecError, match="cannot be called"):
        spec.check_legs(spec_of(name))
    assert not (connection.home / layout.home).exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"legs": (leg("a", "true", argv=("true",)),)}, "both"),
        ({"argv": ()}, "no command"),
        ({"legs": (leg("a", env={"A=B": "c"}),)}, "no process"),
        ({"legs": (leg("a", argv=("x\0",)),)}, "no process"),
        ({"repeats": 0}, "0 repeats"),
        ({"legs": tuple(leg(f"a{number}") for number in range(257))}, "more than 256"),
    ],
)
def test_what_no_machine_could_do_is_refused_before_it_is_bought(changes: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told) as refused:
        spec.check_legs(spec_of("a", **changes) if "legs" not in changes else spec_of(**changes))
    assert refused.value.hint


def test_legs_survive_as_text() -> None:
    job = spec_of("a", "b", repeats=3)
    assert spec.restore(spec.dump(job)) == job


def test_a_record_has_its_place_on_a_disk_that_the_leg_has_filled(tmp_path: Path, monkeypatch: Any) -> None:
    place = Place({name: str(tmp_path / name) for name in ("output", "checkpoint", "keras")}, "a", 1)
    place.empty()
    real = os.open

    def full(path: str, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    place.write({"leg": "a", "repeat": 1, "state": "failed", "reason": "exit status 1"})
    assert place.recorded("a", 1)["state"] == "failed"
    assert [path.name for path in Path(place.output).iterdir()] == ["gpurun-trial.json"]
    assert place.recorded("a", 2) is None
