"""Killed or stopped at each of its steps, a bake leaves nothing, or a whole image with its name."""

import signal

import pytest

from launcher.aws import baked
from tests.e2e.ami.steps import NAMED, STEPS, names, start_until, told

pytestmark = pytest.mark.namespaces


def test_these_are_the_steps_of_a_bake(laptop, recipe, aws):
    done = laptop.gpurun("ami", "bake", "--sandbox", "--no-verify")
    assert done.returncode == 0, done.stderr
    assert tuple(told(kind, data) for kind, data in laptop.events()) == STEPS


@pytest.mark.parametrize("number", range(len(STEPS)), ids=names())
def test_killed_at_a_step_it_leaves_nothing_that_down_does_not_remove(laptop, recipe, aws, nothing_is_left, number):
    bake = start_until(laptop, number)
    bake.kill()
    bake.wait()
    (run,) = laptop.runs()
    down = laptop.gpurun("down", run["run_id"], "--yes")
    assert down.returncode == 0 or run["status"] == "succeeded", down.stderr
    if number >= NAMED:
        (image,) = baked.find(aws)
        assert image.ready
        baked.remove(aws, image)
    assert nothing_is_left()


@pytest.mark.parametrize("number", range(len(STEPS)), ids=names())
def test_asked_to_stop_at_a_step_it_leaves_nothing_by_itself(laptop, recipe, aws, nothing_is_left, number):
    bake = start_until(laptop, number)
    bake.send_signal(signal.SIGTERM)
    bake.send_signal(signal.SIGCONT)
    status = bake.wait(60)
    if number >= NAMED:  # it is done, but for the end of its run
        assert status == 0, laptop.stderr()
        baked.remove(aws, baked.get(aws, "gpurun"))
    elif number == 0:  # nobody attends it yet, and nothing was asked of the cloud
        assert status == -signal.SIGTERM
        assert laptop.gpurun("down", laptop.runs()[0]["run_id"], "--yes").returncode == 0
    else:
        assert status == 130, laptop.stderr()
        assert "nothing of it is left" in laptop.stderr()
    assert nothing_is_left()
