"""The production path has no sandbox branch: plain moto_server takes it as far as a cloud without hosts can."""

import socket
import subprocess
import sys
import time

import boto3
import pytest


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def moto_server(laptop):
    """An unmodified moto_server process; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=laptop.environment | {"PYTHONWARNINGS": "ignore"},
    )
    deadline = time.monotonic() + 60
    while not _listens(port):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_launch_reaches_the_wait_for_ssh_and_gives_up_cleanly(laptop, moto_server):
    (laptop.home / ".ssh").mkdir(mode=0o700)
    # Whatever address moto invents, nobody must be dialled there: the user's ssh_config sends it to a closed port.
    (laptop.home / ".ssh" / "config").write_text("Host *\n  HostName 127.0.0.1\n  Port 9\n")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    ec2 = boto3.client(
        "ec2",
        endpoint_url=moto_server,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    image = ec2.describe_images(Owners=["099720109477"], Filters=[{"Name": "architecture", "Values": ["x86_64"]}])
    done = laptop.gpurun(
        *("launch", "--yes", "--boot-timeout", "3", "--image", image["Images"][0]["ImageId"]),
        *("--name", "plain", laptop.job("echo hello\n")),
        timeout_s=120,
        AWS_ENDPOINT_URL=moto_server,
        **keys,
    )
    assert done.returncode == 5, done.stderr
    assert "connect" in done.stderr
    assert "Traceback" not in done.stderr
    instances = [each for page in ec2.describe_instances()["Reservations"] for each in page["Instances"]]
    assert [instance["State"]["Name"] for instance in instances] == ["terminated"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert ec2.describe_launch_templates()["LaunchTemplates"] == []
    (run,) = laptop.runs()
    assert run["status"] == "failed"
    ec2.close()
