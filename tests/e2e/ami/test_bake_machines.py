"""A launcher that is killed, an image that takes long, and a computer that is not the machine."""

from launcher.aws import baked
from launcher.sandbox import control


def test_a_launcher_that_is_killed_leaves_what_down_and_gc_remove(laptop, recipe, nothing_is_left, aws, torment):
    torment.fault({"match": {"action": "CreateTags"}, "effect": {"delay_s": 30.0}})
    bake = laptop.start("ami", "bake", "--sandbox", "--no-verify")
    laptop.wait_for(lambda: any(each.state == "available" for each in baked.find(aws)))
    laptop.wait_for_event("ending")
    bake.kill()
    bake.wait()
    torment.clear_faults()
    run = laptop.runs()[0]["run_id"]
    assert laptop.gpurun("down", run, "--yes").returncode == 0
    found = laptop.gpurun("gc", "--sandbox", "--yes")
    assert found.returncode == 0, found.stderr
    assert nothing_is_left()


def test_a_machine_that_has_rebooted_for_its_image_is_claimed_again(laptop, recipe, aws, torment):
    torment.settings(image_pending_s=6.0)
    try:
        done = laptop.gpurun("ami", "bake", "--sandbox", "--no-verify")
    finally:
        torment.settings(image_pending_s=0.0)
    assert done.returncode == 0, done.stderr
    kinds = [kind for kind, _ in laptop.events()]
    assert kinds.index("image") < kinds.index("claimed") < kinds.index("published")


def test_a_computer_that_is_not_the_machine_is_left_alone(laptop, recipe, tmp_path):
    state = tmp_path / "loopback"
    cloud = control.start(state, hosts="loopback")
    try:
        laptop.state.sandbox.unlink()
        laptop.state.sandbox.symlink_to(cloud.state)
        (recipe / "provision.sh").write_text(f"touch {tmp_path}/changed\n")
        done = laptop.gpurun("ami", "bake", "--sandbox")
    finally:
        control.stop(state)
    assert done.returncode == 4
    assert "nothing on it was changed" in done.stderr
    assert not (tmp_path / "changed").exists()


def test_a_launcher_that_is_killed_while_the_image_is_tested_leaves_two_runs_to_end(laptop, recipe, nothing_is_left):
    (recipe / "smoke_test.py").write_text(
        (recipe / "smoke_test.py").read_text()
        + "import os, time\ntime.sleep(60 if 'GPURUN_RUN_ID' in os.environ else 0)\n"
    )
    bake = laptop.start("ami", "bake", "--sandbox")
    laptop.wait_for_event("job.started", 60)
    bake.kill()
    bake.wait()
    for run in laptop.runs():
        done = laptop.gpurun("down", run["run_id"], "--yes")
        assert done.returncode == 0, done.stderr
    assert nothing_is_left()
