"""A recipe for the sandbox's hosts, and a look at what a bake has left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.aws import baked, orphans
from launcher.aws.client import Aws
from launcher.sandbox.client import SandboxClient

SMOKE = '{"ok": true, "tensorflow": "2.21.0", "python": "3.11", "steps": 10, "no_gpu_because": "none here"}'


@pytest.fixture
def recipe(laptop) -> Path:
    """Scripts that do what an unprivileged user of a sandbox's host may do."""
    folder = laptop.work / "ami"
    folder.mkdir()
    (folder / "versions.env").write_text(
        'BASE_IMAGE="ssm:/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"\nPREFIX="/opt/gpurun"\n'
    )
    (folder / "provision.sh").write_text('test -f "$1" && echo provisioned\n')
    (folder / "smoke_test.py").write_text(f"print({SMOKE!r})\n")
    (folder / "clean.sh").write_text("rm -rf ~/gpurun ~/.ssh && echo cleaned\n")
    return folder


@pytest.fixture
def aws(laptop):
    it = Aws(laptop.cloud.account)
    yield it
    SandboxClient(laptop.cloud.endpoint_url).clear_faults()
    for image in baked.find(it):
        baked.remove(it, image)


@pytest.fixture
def torment(laptop):
    return SandboxClient(laptop.cloud.endpoint_url)


@pytest.fixture
def nothing_is_left(laptop, aws) -> Callable[[], bool]:
    def look() -> bool:
        ours = [{"Name": "tag-key", "Values": ["gpurun:bake"]}]
        snapshots = aws.ec2.describe_snapshots(Filters=ours, OwnerIds=["self"])["Snapshots"]
        return not (laptop.living() or baked.find(aws) or snapshots or orphans.find(aws))

    return look
