"""What goes wrong out there, injected into the sandbox, and what gpurun says and leaves."""

import os
import subprocess
import time

import pytest

from launcher.sandbox.client import SandboxClient

HELLO = "echo hello\n"


@pytest.fixture
def torment(cloud):
    """The fault switches of the session's cloud, all off again afterwards."""
    client = SandboxClient(cloud.endpoint_url)
    yield client
    client.clear_faults()
    client.settings(boot_delay_s=0.0)


def _fault(torment, action: str, code: str, **more) -> None:
    torment.fault({"match": {"action": action}, "effect": {"error": code}, **more})


@pytest.mark.parametrize(
    ("action", "code", "exit_code", "words"),
    [
        ("CreateFleet|RunInstances", "MaxSpotInstanceCountExceeded", 4, "quota"),
        ("CreateFleet|RunInstances", "InsufficientInstanceCapacity", 4, "capacity"),
        ("CreateFleet|RunInstances", "UnauthorizedOperation", 4, "ec2:"),
        ("DescribeInstanceTypes|DescribeSpotPriceHistory|DescribeImages", "AuthFailure", 3, "credentials"),
    ],
)
def test_a_refusal_is_told_apart_and_nothing_is_left(laptop, torment, action, code, exit_code, words):
    _fault(torment, action, code, times=-1)
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO))
    assert done.returncode == exit_code, done.stderr
    assert words in done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr
    torment.clear_faults()
    assert laptop.living() == []
    assert all(run["status"] == "failed" for run in laptop.runs())


def test_credentials_that_expire_say_how_to_renew_them(laptop, torment):
    _fault(torment, ".*", "expired-credentials", times=-1)
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO))
    assert done.returncode == 3, done.stderr
    assert "expired" in done.stderr.lower()
    assert "aws " in done.stderr


def test_credentials_that_expire_in_mid_run_cost_nothing_but_a_renewal(laptop, torment):
    process = laptop.start(
        "launch", "--sandbox", laptop.job("echo begun; sleep 1; echo w > $GPURUN_OUTPUT_DIR/w.txt\n")
    )
    laptop.wait_for_event("job.started")
    _fault(torment, ".*", "expired-credentials", times=-1)
    assert process.wait(60) == 3, laptop.stderr()
    assert "gpurun resume" in laptop.stderr()
    torment.clear_faults()
    assert len(laptop.living()) == 1
    (run,) = laptop.runs()
    assert next(laptop.work.glob("runs/*/w.txt")).read_text() == "w\n"
    assert laptop.gpurun(*run["next"].split()[1:]).returncode == 0
    assert laptop.living() == []


def test_a_region_that_is_not_enabled_says_how_to_enable_it(laptop):
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO), "--region", "af-south-1")
    assert done.returncode == 4, done.stderr
    assert "enable" in done.stderr


def test_an_image_that_is_not_there(laptop):
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO), "--image", "ami-0123456789abcdef0")
    assert done.returncode == 4
    assert "ami-0123456789abcdef0" in done.stderr


def test_a_region_that_does_not_exist(laptop):
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO), "--region", "mars-north-1")
    assert done.returncode in {2, 4}
    assert "mars-north-1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lost_answer_after_the_machine_was_made_gives_one_machine(laptop, torment):
    torment.fault({"match": {"action": "CreateFleet"}, "effect": {"drop": "after"}, "times": 1})
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO))
    assert done.returncode == 0, done.stderr
    assert len(laptop.instances()) == 1
    assert laptop.living() == []


def test_a_port_that_opens_late_is_waited_for(laptop, torment):
    torment.settings(boot_delay_s=4.0)
    done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO))
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_another_host_key_is_refused_before_authentication(laptop, torment):
    torment.settings(boot_delay_s=3.0)
    process = laptop.start("launch", "--sandbox", laptop.job(HELLO))
    laptop.wait_for_event("instance")
    other = laptop.home / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    import sqlite3

    # The launcher now expects a key that the machine does not have, as when somebody else answers at its address.
    book = sqlite3.connect(laptop.state.ledger)
    with book:
        book.execute("UPDATE runs SET host_key_line = ?", (other.with_suffix(".pub").read_text().strip(),))
    book.close()
    process.kill()
    process.wait()
    done = laptop.gpurun("resume")
    assert done.returncode == 5
    assert "SHA256:" in done.stderr
    assert laptop.living() == []


def test_a_minute_without_network_loses_no_line_of_the_log(laptop, torment):
    lines = 400
    job = laptop.job(f"for i in $(seq {lines}); do echo line $i; sleep 0.02; done\n")
    process = laptop.start("launch", "--sandbox", job)
    laptop.wait_for_event("phase", name="run")
    (instance,) = laptop.instances("running")
    torment.partition(instance["InstanceId"], cut=True)
    time.sleep(60)  # the fault itself
    torment.partition(instance["InstanceId"], cut=False)
    assert process.wait(60) == 0, laptop.stderr()
    assert (laptop.home / "stdout").read_text() == "".join(f"line {i}\n" for i in range(1, lines + 1))
    assert laptop.living() == []


def test_a_host_that_dies_is_told_with_its_reason(laptop, torment):
    job = "run: echo begun; sleep 600\ndevice: cpu\nlimits: {max_restarts: 0}\n"
    process = laptop.start("launch", "--sandbox", laptop.job(job, "job.yaml"))
    laptop.wait_for_event("phase", name="run")
    (instance,) = laptop.instances("running")
    torment.interrupt(instance["InstanceId"], in_s=0.5)
    assert process.wait(90) == 5, laptop.stderr()
    assert "SpotInstanceTermination" in laptop.stderr()
    assert laptop.runs()[0]["status"] == "failed"
    assert laptop.living() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_results_larger_than_the_disk_at_home_are_kept_on_the_machine(laptop):
    small = laptop.home / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        job = laptop.job("head -c 5000000 /dev/urandom > $GPURUN_OUTPUT_DIR/big.bin\n")
        done = laptop.gpurun("launch", "--sandbox", job, "--outputs", str(small / "out"))
        assert done.returncode == 5, done.stderr
        assert "--to" in done.stderr
        assert len(laptop.living()) == 1
        assert not any(path.is_file() for path in small.rglob("*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    done = laptop.gpurun("resume")
    assert done.returncode == 0, done.stderr
    assert next((small / "out").glob("*/big.bin")).stat().st_size == 5_000_000
    assert laptop.living() == []


def test_a_job_killed_for_memory_is_told_as_that(laptop):
    job = laptop.job("kill -9 $$\n")
    done = laptop.gpurun("launch", "--sandbox", job)
    assert done.returncode == 137
    assert "memory" in done.stderr
    assert "resources.memory" in done.stderr


def test_an_unreadable_file_is_told_before_anything_is_bought(laptop):
    if os.geteuid() == 0:
        (laptop.work / "pipe.csv").mkdir()
        done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO), "--data", "missing.csv")
    else:
        (laptop.work / "data.csv").write_text("x")
        (laptop.work / "data.csv").chmod(0)
        done = laptop.gpurun("launch", "--sandbox", laptop.job(HELLO), "--data", "data.csv")
    assert done.returncode == 2
    assert ".csv" in done.stderr
    assert laptop.runs() == []
