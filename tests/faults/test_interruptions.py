"""A run that loses its machines: with a notice, without one, and for too long out of reach."""

from __future__ import annotations


from tests.faults.conftest import chain, counting_job


def _present(laptop) -> str:
    """The machine that the job runs on."""
    return laptop.runs()[0]["instance_id"]


def _log_of(laptop) -> bytes:
    (path,) = laptop.work.glob("runs/*/gpurun/log.txt")
    return path.read_bytes()


def _steps_of(log: bytes) -> list[int]:
    return [int(line.split()[1]) for line in log.decode().splitlines() if line.startswith("step ")]


def test_a_run_interrupted_twice_goes_on_as_if_nothing_had_happened(laptop, torment):
    process = laptop.start("launch", "--sandbox", counting_job(laptop, 200, 0.1, 1000))
    for number in (1, 2):
        laptop.wait_for(lambda number=number: _starts(laptop) == number)
        laptop.wait_for(lambda number=number: f"step {30 * number} ".encode() in _log_at_home(laptop))
        torment.interrupt(_present(laptop), in_s=60)
        laptop.wait_for(lambda number=number: _starts(laptop) == number + 1, timeout_s=60)
    assert process.wait(90) == 0, laptop.stderr()
    assert (next(laptop.work.glob("runs/*/result.txt"))).read_text().strip() == chain(200)
    assert _steps_of(_log_of(laptop)) == list(range(1, 201))
    assert laptop.living() == []
    assert len(laptop.instances()) == 3


def test_a_machine_that_dies_without_a_word_is_replaced_from_the_last_checkpoint(laptop, torment):
    process = laptop.start("launch", "--sandbox", counting_job(laptop, 100, 0.1, 10))
    laptop.wait_for_event("checkpoint.saved")
    laptop.wait_for(lambda: b"step 25 " in _log_at_home(laptop))
    torment.interrupt(_present(laptop), in_s=0)
    assert process.wait(90) == 0, laptop.stderr()
    assert (next(laptop.work.glob("runs/*/result.txt"))).read_text().strip() == chain(100)
    steps = _steps_of(_log_of(laptop))
    (again,) = [at for at in range(1, len(steps)) if steps[at] != steps[at - 1] + 1]
    assert steps[again] % 10 == 1, "it went on from a checkpoint"
    assert steps[:again] + steps[again:] == [*range(1, steps[again - 1] + 1), *range(steps[again], 101)]
    assert laptop.living() == []


def _starts(laptop) -> int:
    return [kind for kind, _ in laptop.events()].count("job.started")


def _log_at_home(laptop) -> bytes:
    logs = list(laptop.state.runs.glob("*/log"))
    return logs[0].read_bytes() if logs else b""


