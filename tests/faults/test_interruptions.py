"""A run that loses its machines: with a notice, without one, and for too long out of reach."""

from __future__ import annotations

import pytest

from tests.faults.conftest import chain, counting_job

STEPS = 100


def _start(laptop, *arguments: str, every: int = 10, starts: int = 2):
    """Begin a run that does not end before its job was started so often."""
    return laptop.start("launch", "--sandbox", counting_job(laptop, STEPS, 0.1, every, starts), *arguments)


def _reached(laptop, step: int) -> None:
    laptop.wait_for(lambda: f"step {step} ".encode() in _log_at_home(laptop))


def _present(laptop) -> str:
    """The machine that the job runs on."""
    return laptop.runs()[0]["instance_id"]


def _starts(laptop) -> int:
    return [kind for kind, _ in laptop.events()].count("job.started")


def _log_at_home(laptop) -> bytes:
    logs = list(laptop.state.runs.glob("*/log"))
    return logs[0].read_bytes() if logs else b""


def _steps(laptop) -> list[int]:
    (path,) = laptop.work.glob("runs/*/gpurun/log.txt")
    return [int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("step ")]


def _check_end(laptop, *, machines: int) -> None:
    """The right result, and nothing left of any machine."""
    assert next(laptop.work.glob("runs/*/result.txt")).read_text().strip() == chain(STEPS)
    assert laptop.living() == []
    assert len(laptop.instances()) == machines


def _check_repeat(laptop) -> None:
    """The log goes on once from a checkpoint: nothing is missing, and no more is said twice than was done twice."""
    steps = _steps(laptop)
    (again,) = [at for at in range(1, len(steps)) if steps[at] != steps[at - 1] + 1]
    assert steps[again] % 10 == 1, "it went on from a checkpoint"
    assert steps == [*range(1, steps[again - 1] + 1), *range(steps[again], STEPS + 1)]


def test_a_run_interrupted_twice_goes_on_as_if_nothing_had_happened(laptop, torment):
    process = _start(laptop, every=1000, starts=3)
    for number in (1, 2):
        laptop.wait_for(lambda number=number: _starts(laptop) == number, timeout_s=60)
        _reached(laptop, 25 * number)
        torment.interrupt(_present(laptop), in_s=60)
        laptop.wait_for(lambda number=number: _starts(laptop) == number + 1, timeout_s=60)
    assert process.wait(90) == 0, laptop.stderr()
    assert _steps(laptop) == list(range(1, STEPS + 1))
    _check_end(laptop, machines=3)


def test_a_machine_that_dies_without_a_word_is_replaced_from_the_last_checkpoint(laptop, torment):
    process = _start(laptop)
    laptop.wait_for_event("checkpoint.saved")
    _reached(laptop, 25)
    torment.interrupt(_present(laptop), in_s=0)
    assert process.wait(90) == 0, laptop.stderr()
    _check_repeat(laptop)
    _check_end(laptop, machines=2)


def test_a_machine_out_of_reach_for_too_long_is_ended_before_another_one_works(laptop, torment):
    process = _start(laptop, "--lost-after", "5")
    laptop.wait_for_event("checkpoint.saved")
    _reached(laptop, 25)
    first = _present(laptop)
    torment.partition(first, cut=True)
    assert process.wait(120) == 0, laptop.stderr()
    _check_repeat(laptop)
    _check_end(laptop, machines=2)
    kinds = [(kind, data.get("segment", 1)) for kind, data in laptop.events()]
    assert kinds.index(("interrupted", 1)) < kinds.index(("job.started", 2))


def test_code_that_was_edited_meanwhile_does_not_go_up(laptop, torment):
    process = _start(laptop)
    laptop.wait_for_event("checkpoint.saved")
    laptop.wait_for(lambda: bool(list(laptop.state.runs.glob("*/code/counting.py"))))
    (laptop.work / "counting.py").write_text("raise SystemExit('edited')\n")
    torment.interrupt(_present(laptop), in_s=0)
    assert process.wait(90) == 0, laptop.stderr()
    _check_end(laptop, machines=2)


def test_a_machine_that_was_lost_while_nobody_looked_is_replaced_by_resume(laptop, torment):
    process = _start(laptop)
    laptop.wait_for_event("checkpoint.saved")
    process.kill()
    process.wait()
    torment.interrupt(_present(laptop), in_s=0)
    laptop.wait_for(lambda: laptop.living() == [])
    (run,) = laptop.runs()
    assert "last checkpoint" in run["note"]
    assert laptop.gpurun("resume", timeout_s=120).returncode == 0
    _check_end(laptop, machines=2)


@pytest.mark.parametrize("moment", ["notice", "successor", "job.stopped", "interrupted", "restored"])
def test_a_launcher_that_dies_between_two_machines_is_resumed(laptop, torment, moment):
    process = _start(laptop)
    _reached(laptop, 15)
    torment.interrupt(_present(laptop), in_s=60)
    laptop.wait_for_event(moment, timeout_s=60)
    process.kill()
    process.wait()
    done = laptop.gpurun("resume", timeout_s=120)
    assert done.returncode == 0, done.stderr
    _check_end(laptop, machines=2)


def test_a_run_that_may_not_restart_fails_with_its_last_checkpoint_home(laptop, torment):
    job = counting_job(laptop, STEPS, 0.1, 10, starts=2)
    with (laptop.work / job).open("a") as spec:
        spec.write("limits: {max_restarts: 0}\n")
    process = laptop.start("launch", "--sandbox", job)
    laptop.wait_for_event("checkpoint.saved")
    torment.interrupt(_present(laptop), in_s=0)
    assert process.wait(60) == 5, laptop.stderr()
    assert "max_restarts" in laptop.stderr()
    assert list(laptop.work.glob("runs/*/gpurun/checkpoint/state.json"))
    assert laptop.living() == []


def test_a_machine_that_somebody_ended_is_not_replaced(laptop):
    process = _start(laptop)
    laptop.wait_for_event("checkpoint.saved")
    from launcher.aws.client import Aws

    Aws(laptop.cloud.account).ec2.terminate_instances(InstanceIds=[_present(laptop)])
    assert process.wait(60) == 5, laptop.stderr()
    assert len(laptop.instances()) == 1
    assert list(laptop.work.glob("runs/*/gpurun/checkpoint/state.json"))
