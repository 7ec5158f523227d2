"""A bake that is struck or stopped at its steps leaves nothing."""

import signal

import pytest


@pytest.mark.parametrize("action", ["CreateImage", "CreateTags", "DescribeImages"])
def test_a_call_that_aws_refuses_leaves_nothing(laptop, recipe, nothing_is_left, torment, action):
    # DescribeImages: the first look at the image being made, since the base is looked up before.
    skip = 1 if action == "DescribeImages" else 0
    torment.fault({"match": {"action": action}, "effect": {"error": "UnauthorizedOperation"}, "skip": skip})
    done = laptop.gpurun("ami", "bake", "--sandbox", "--no-verify")
    assert done.returncode == 4, done.stderr
    assert nothing_is_left()


@pytest.mark.parametrize("event", ["connected", "image.intent", "image"])
def test_ctrl_c_leaves_nothing(laptop, recipe, nothing_is_left, torment, event):
    if event == "connected":
        (recipe / "provision.sh").write_text("sleep 60\n")
    else:
        torment.fault({"match": {"action": "CreateImage"}, "effect": {"delay_s": 1.0}})
    bake = laptop.start("ami", "bake", "--sandbox")
    laptop.wait_for_event(event)
    bake.send_signal(signal.SIGINT)
    assert bake.wait(60) == 130, laptop.stderr()
    assert "nothing of it is left" in laptop.stderr()
    assert nothing_is_left()
