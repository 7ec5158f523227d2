"""`gpurun ami` as a person runs it: an image is baked, tested, named and launched from, or nothing stays."""

import json
from pathlib import Path

import pytest

import launcher
from launcher.aws import baked, orphans
from launcher.domain import TAG_DEADLINE

SMOKE = '{"ok": true, "tensorflow": "2.21.0", "python": "3.11", "steps": 10, "no_gpu_because": "none here"}'


def test_an_image_is_baked_tested_named_and_launched_from(laptop, recipe, aws):
    done = laptop.gpurun("ami", "bake", "--sandbox", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["event"] == "image"
    assert [each["exit_status"] for each in told["tests"]] == [0]
    image = baked.get(aws, "gpurun")
    assert image.image_id == told["image"]["image_id"]
    assert image.tags[TAG_DEADLINE] == "none"
    assert image.tags["gpurun:tensorflow"] == "2.21.0"
    baked.check_encrypted(aws, image)
    assert not laptop.living()
    assert {run["status"] for run in laptop.runs()} == {"succeeded"}
    assert orphans.find(aws) == []

    shown = laptop.gpurun("ami", "show", "gpurun", "--sandbox")
    assert image.image_id in shown.stdout
    assert "2.21.0" in shown.stdout
    assert image.image_id in laptop.gpurun("ami", "list", "--sandbox").stdout

    job = laptop.job("echo trained\n")
    launched = laptop.gpurun("launch", "--sandbox", "--device", "cpu", "--image", "tag:gpurun:image=gpurun", job)
    assert launched.returncode == 0, launched.stderr
    assert "trained" in launched.stdout


def test_a_smoke_test_that_fails_leaves_nothing(laptop, recipe, nothing_is_left):
    (recipe / "smoke_test.py").write_text("import json; print(json.dumps({'ok': False, 'trouble': 'no libcudart'}))\n")
    done = laptop.gpurun("ami", "bake", "--sandbox")
    assert done.returncode == 4
    assert "no libcudart" in done.stderr
    assert "next: " in done.stderr
    run = laptop.runs()[0]["run_id"]
    assert f"gpurun logs {run}" in done.stderr
    assert "no libcudart" in laptop.gpurun("logs", run).stdout
    assert nothing_is_left()


@pytest.mark.namespaces
def test_a_disk_that_is_too_small_is_told_of(laptop, recipe, nothing_is_left, torment):
    (recipe / "provision.sh").unlink()
    own = Path(launcher.__file__).parents[1] / "ami/sandbox/versions.env"
    (recipe / "versions.env").write_text(own.read_text())
    torment.settings(disk_bytes=16 << 20)
    try:
        done = laptop.gpurun("ami", "bake", "--sandbox", "--no-verify")
    finally:
        torment.settings(disk_bytes=0)
    assert done.returncode == 5
    assert "MiB are free where /opt/gpurun lies: a larger disk is needed" in done.stderr
    assert nothing_is_left()


@pytest.mark.parametrize("script", ["provision.sh", "clean.sh"])
def test_a_script_that_fails_leaves_nothing(laptop, recipe, nothing_is_left, script):
    (recipe / script).write_text("echo E: no such package >&2; exit 100\n")
    done = laptop.gpurun("ami", "bake", "--sandbox")
    assert done.returncode == 5
    assert "ended with 100: E: no such package" in done.stderr
    assert nothing_is_left()


def test_an_image_that_fails_its_test_launch_never_gets_its_name(laptop, recipe, nothing_is_left):
    # The first machine is good; the one that is launched from the image runs its job in a run's folder.
    (recipe / "smoke_test.py").write_text(
        f"import os\nprint({SMOKE!r})\nraise SystemExit(9 if 'GPURUN_RUN_ID' in os.environ else 0)\n"
    )
    done = laptop.gpurun("ami", "bake", "--sandbox")
    assert done.returncode == 4
    assert "fails its smoke test (exit status 9)" in done.stderr
    assert nothing_is_left()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bake", "--name", "No Name"), "small letters"),
        (("bake", "--recipe", "nowhere"), "no recipe in nowhere"),
        (("bake", "--instance-type", "nonsense"), "nonsense"),
        (("show", "nothing"), "no image of ours"),
        (("share", "gpurun", "12"), "twelve digits"),
        (("copy", "nothing", "us-west-2"), "no image of ours"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(laptop, recipe, arguments, said):
    done = laptop.gpurun("ami", *arguments, "--sandbox")
    assert done.returncode == 2
    assert said in done.stderr
    assert "next: " in done.stderr
    assert not laptop.state.ledger.exists() or not laptop.runs()
