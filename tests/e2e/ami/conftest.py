"""A recipe for the sandbox's hosts, and a look at what a bake has left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.aws import baked, orphans
from launcher.aws.client import Aws
from launcher.sandbox.client import SandboxClient

SMOKE = '{"ok": true, "tensorflow": "2.21.0", "python": "3.11", "steps": 10, "no_gpu_because": "none here"}'
PROVISION = """
test -f "$1"
mkdir -p /opt/gpurun/bin
ln -sf /opt/tensorflow/bin/python /opt/gpurun/bin/python
echo provisioned
"""


@pytest.fixture
def recipe(laptop) -> Path:
    """Quick scripts: an interpreter at the prefix, a smoke test that only says so; the cleaning is gpurun's own."""
    folder = laptop.work / "ami"
    folder.mkdir()
    (folder / "versions.env").write_text(
        'BASE_IMAGE="ssm:/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"\nPREFIX="/opt/gpurun"\n'
    )
    (folder / "provision.sh").write_text(PROVISION)
    (folder / "smoke_test.py").write_text(f"print({SMOKE!r})\n")
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
        if laptop.living() or baked.find(aws) or snapshots:
            return False
        secrets = [path for run in laptop.state.runs.glob("*") for path in (run / "key", run / "host_key")]
        here = [*laptop.cloud.state.glob("snapshots/*"), *(path for path in secrets if path.exists())]
        return not here and not orphans.find(aws)

    return look
