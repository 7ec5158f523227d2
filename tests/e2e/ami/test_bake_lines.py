"""A line that breaks while the machine is provisioned, and an image that is tested again later."""

import json

from launcher.aws import baked
from tests.e2e.ami.conftest import PROVISION

BREAK = f"""{PROVISION}
echo attempt >>~/attempts
if [ "$(wc -l <~/attempts)" = 1 ]; then
    pkill -9 -f 'sshd.*: ubuntu'
    sleep 30
fi
echo "attempts: $(wc -l <~/attempts)"
"""


def test_provisioning_is_begun_again_after_its_line_broke_and_the_image_verified_later(laptop, recipe, aws):
    (recipe / "provision.sh").write_text(BREAK)
    done = laptop.gpurun("ami", "bake", "--sandbox", "--no-verify", "--name", "ours")
    assert done.returncode == 0, done.stderr
    assert "the provisioning is begun again" in done.stderr
    assert "attempts: 2" in done.stdout + done.stderr

    tested = laptop.gpurun("ami", "verify", "ours", "--sandbox", "--json")
    assert tested.returncode == 0, tested.stderr
    told = json.loads(tested.stdout.splitlines()[-1])
    assert told["image"]["image_id"] == baked.get(aws, "ours").image_id
    assert told["tests"][0]["exit_status"] == 0
    (recipe / "smoke_test.py").write_text("raise SystemExit(3)\n")
    failed = laptop.gpurun("ami", "verify", "ours", "--sandbox")
    assert failed.returncode == 4
    assert "exit status 3" in failed.stderr
    assert not laptop.living()


def test_resuming_a_bake_that_lost_its_launcher_ends_it(laptop, recipe, nothing_is_left):
    (recipe / "provision.sh").write_text("sleep 60\n")
    bake = laptop.start("ami", "bake", "--sandbox")
    laptop.wait_for_event("status", to="running")
    bake.kill()
    bake.wait()
    done = laptop.gpurun("resume", laptop.runs()[0]["run_id"])
    assert done.returncode == 2
    assert "bake again: gpurun ami bake" in done.stdout
    assert nothing_is_left()
