"""What a bake installs lies on the image, and on machines launched from it; the scripts are the real ones."""

import json
import re
import zipfile
from pathlib import Path

import pytest

import launcher
from launcher.aws import baked

pytestmark = pytest.mark.namespaces
JOB = "python -c 'import tiny; print(tiny.ANSWER)' 2>/dev/null || echo not installed\n"
SMOKE = (
    "import json, tiny\nprint(json.dumps({'ok': tiny.ANSWER == 42, 'steps': 0, 'no_gpu_because': 'not looked for'}))\n"
)


@pytest.fixture
def tiny(laptop) -> Path:
    """Versions that install a wheel which is on no index, and a smoke test of it: the rest is gpurun's own."""
    folder = laptop.work / "tiny"
    folder.mkdir()
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny.py", "ANSWER = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    own = Path(launcher.__file__).parents[1] / "ami/sandbox/versions.env"
    text = own.read_text().replace('PYTHON_PACKAGES=""', 'PYTHON_PACKAGES="tiny==1.0"')
    (folder / "versions.env").write_text(text.replace('INHERIT_PACKAGES="yes"', 'INHERIT_PACKAGES="no"'))
    (folder / "smoke_test.py").write_text(SMOKE)
    return folder


@pytest.fixture
def snapshots(laptop) -> Path:
    return laptop.cloud.state / "snapshots"


def launch(laptop, image: str, region: str = "us-east-1") -> str:
    options = ("--device", "cpu", "--region", region, "--image", image)
    done = laptop.gpurun("launch", "--sandbox", *options, laptop.job(JOB))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_baked_is_there_where_it_is_launched_from_and_gone_with_it(laptop, tiny, aws, snapshots):
    done = laptop.gpurun("ami", "bake", "--sandbox", "--recipe", "tiny", "--json", timeout_s=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [test["exit_status"] for test in json.loads(done.stdout.splitlines()[-1])["tests"]] == [0]
    image = baked.get(aws, "gpurun")
    assert [path.name for path in snapshots.iterdir()] == list(image.snapshot_ids)
    stock = re.search(r'BASE_IMAGE="(.*)"', (tiny / "versions.env").read_text())
    assert launch(laptop, stock[1]) == "not installed"
    assert launch(laptop, "tag:gpurun:image=gpurun") == "42"

    # Nothing of the machine that it was made on: no key, no host key, no memory of cloud-init or of a run.
    disk = snapshots / image.snapshot_ids[0]
    assert not list(disk.glob("home/ubuntu/.ssh")) + list(disk.glob("home/ubuntu/gpurun"))
    assert (
        not list(disk.glob("etc-ssh/ssh_host_*"))
        + list(disk.glob("var/lib/cloud/instances"))
        + list(disk.glob("var/lib/gpurun"))
    )

    there = aws.at("us-west-2")
    assert laptop.gpurun("ami", "copy", "gpurun", there.region, "--sandbox").returncode == 0
    baked.remove(aws, image)
    copy = baked.get(there, "gpurun")
    assert [path.name for path in snapshots.iterdir()] == list(copy.snapshot_ids)
    assert launch(laptop, "tag:gpurun:image=gpurun", there.region) == "42"
    baked.remove(there, copy)
    assert not list(snapshots.iterdir())
