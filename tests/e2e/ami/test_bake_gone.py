"""A bake whose laptop never comes back: its machine ends itself, and tags alone tell of the rest."""

import pytest

from launcher.aws import baked
from tests.e2e.ami.steps import STEPS, start_until
from tests.e2e.conftest import Laptop


@pytest.mark.slow
@pytest.mark.namespaces
def test_a_laptop_that_is_gone_for_ever_leaves_what_another_one_finds(laptop, recipe, nothing_is_left, aws, tmp_path):
    other = Laptop(home=tmp_path / "other", cloud=laptop.cloud)
    other.work.mkdir(parents=True)
    other.state.home.mkdir(parents=True)
    other.state.sandbox.symlink_to(laptop.cloud.state)
    bake = start_until(laptop, STEPS.index("image"), "--max-hours", "0.012")
    bake.kill()
    bake.wait()
    laptop.wait_for(lambda: all(each.state == "available" for each in baked.find(aws)))
    (image,) = baked.find(aws)
    # Before the deadline it may be the work of a bake that goes on.
    assert other.gpurun("gc", "--sandbox", "--yes", LOGNAME="somebody-else").returncode == 0
    assert baked.find(aws) == [image]
    # Nobody but the machine itself, which has rebooted for its image, ends it.
    laptop.wait_for(lambda: not laptop.living(), 90)
    found = other.gpurun("gc", "--sandbox", "--yes", LOGNAME="somebody-else")
    assert found.returncode == 0, found.stderr
    assert baked.find(aws) == []
    assert laptop.gpurun("down", laptop.runs()[0]["run_id"], "--yes").returncode == 0
    assert nothing_is_left()
