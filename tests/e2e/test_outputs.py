"""Outputs in S3: a detached run whose laptop is off loses nothing, and what is there comes home again."""

import json
import secrets
import shutil
import time

import pytest

from launcher.aws import durable
from launcher.aws.client import Aws
from launcher.sandbox.client import SandboxClient

WEIGHTS = "import numpy as np, os; np.savez(os.environ['{folder}'] + '/{name}', w=np.arange({count}))"
JOB = f"""
python3 -c "{WEIGHTS.format(folder="GPURUN_CHECKPOINT_DIR", name="step.npz", count=10)}"
echo saved
while [ ! -e go ]; do sleep 0.05; done
python3 -c "{WEIGHTS.format(folder="GPURUN_OUTPUT_DIR", name="model.npz", count=20)}"
echo done
"""
SAVES = "echo one > $GPURUN_CHECKPOINT_DIR/step; echo saved; sleep 600\n"
GOES_ON = """
step=$GPURUN_CHECKPOINT_DIR/step
if [ -e $step ]; then echo goes on; cp $step $GPURUN_OUTPUT_DIR/w; exit 0; fi
echo first > $step
echo saved
sleep 600
"""


@pytest.fixture
def aws(cloud):
    return Aws(cloud.account)


@pytest.fixture
def sandbox_api(cloud):
    api = SandboxClient(cloud.endpoint_url)
    yield api
    api.clear_faults()


@pytest.fixture
def uri(aws):
    bucket = f"outputs-{secrets.token_hex(6)}"
    aws.s3.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team"


def wait_for(seen, timeout_s=90):
    until = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < until
        time.sleep(0.05)


def objects(aws, uri, run_id):
    """Names of the contents that lie in S3."""
    _, _, bucket, prefix = uri.split("/", 3)
    found = aws.s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/{run_id}/objects/").get("Contents", [])
    return {each["Key"].removeprefix(f"{prefix}/{run_id}/") for each in found}


def launch(laptop, uri, job, *more):
    done = laptop.gpurun("launch", "--sandbox", "--outputs", uri, *more, laptop.job(job), timeout_s=150)
    assert done.returncode == 0, done.stderr
    (run,) = laptop.runs()
    return run


def test_a_run_sends_its_results_and_they_come_home_too(laptop, aws, uri):
    saves = "echo $n > $GPURUN_OUTPUT_DIR/w; echo $n > $GPURUN_CHECKPOINT_DIR/c"
    job = f"for n in 1 2 3; do sleep 2; {saves}; done; echo out"
    run = launch(laptop, uri, job)
    results = laptop.work / "runs" / run["run_id"]
    assert (results / "w").read_text() == "3\n"
    found = durable.newest(aws, uri, run["run_id"])
    assert [item.name for item in found.checkpoint] == ["c"]
    # What came before the newest was taken away in the end.
    chunks = [chunk for item in (*found.checkpoint, *found.output) for chunk in item.chunks]
    needed = {chunk.key for chunk in (*chunks, *found.log) if chunk.key.startswith("objects/")}
    assert objects(aws, uri, run["run_id"]) == needed
    assert laptop.living() == []
    grant = [data for kind, data in laptop.events() if kind == "outputs.granted"]
    assert grant
    assert set(grant[0]) == {"expires_at"}
    secret = "x-amz-signature"
    assert not [
        path for path in laptop.state.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_detached_and_gone_its_results_come_home_from_s3(laptop, aws, uri):
    run = launch(
        laptop, uri, "echo w > $GPURUN_OUTPUT_DIR/w; echo c > $GPURUN_CHECKPOINT_DIR/c; echo said; exit 3", "--detach"
    )
    wait_for(lambda: (found := durable.newest(aws, uri, run["run_id"])) is not None and found.complete)
    laptop.instances()
    (machine,) = laptop.living()
    aws.ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    wait_for(lambda: not laptop.living())
    done = laptop.gpurun("resume", run["run_id"], timeout_s=150)
    assert done.returncode == 3, done.stderr
    results = laptop.work / "runs" / run["run_id"]
    assert (results / "w").read_text() == "w\n"
    assert (results / "gpurun" / "checkpoint" / "c").read_text() == "c\n"
    assert (results / "gpurun" / "log.txt").read_text() == "said\n"
    (run,) = laptop.runs()
    assert run["status"] == "failed"


def test_one_whose_machine_died_goes_on_from_what_it_had_sent(laptop, aws, uri, sandbox_api):
    run = launch(laptop, uri, GOES_ON, "--detach")
    wait_for(lambda: (found := durable.newest(aws, uri, run["run_id"])) is not None and found.checkpoint)
    (machine,) = laptop.living()
    sandbox_api.interrupt(machine["InstanceId"], in_s=0)
    wait_for(lambda: not laptop.living())
    done = laptop.gpurun("resume", run["run_id"], timeout_s=150)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "saved\ngoes on\n"
    results = laptop.work / "runs" / run["run_id"]
    assert (results / "w").read_text() == "first\n"
    assert laptop.living() == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_that_ec2_took_back_while_detached_goes_on_elsewhere(laptop, aws, uri, sandbox_api):
    run = launch(laptop, uri, GOES_ON, "--detach")
    wait_for(lambda: (found := durable.newest(aws, uri, run["run_id"])) is not None and found.checkpoint)
    (machine,) = laptop.living()
    sandbox_api.interrupt(machine["InstanceId"], in_s=80)  # longer than the lease: by itself it would go before
    wait_for(lambda: not laptop.living(), timeout_s=120)
    assert durable.newest(aws, uri, run["run_id"]).ended_by == "interruption"
    done = laptop.gpurun("resume", run["run_id"], timeout_s=150)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "saved\ngoes on\n"
    assert (laptop.work / "runs" / run["run_id"] / "w").read_text() == "first\n"
    assert laptop.living() == []


def test_fetch_weights_reads_whichever_place_there_is(laptop, aws, uri):
    run = launch(laptop, uri, JOB, "--detach")
    wait_for(lambda: (found := durable.newest(aws, uri, run["run_id"])) is not None and found.checkpoint)
    there = json.loads(laptop.gpurun("fetch-weights", "--json").stdout)["weights"]
    assert [each["values"] for each in there] == [10]
    (machine,) = laptop.living()
    aws.ec2.terminate_instances(InstanceIds=[machine["InstanceId"]])
    wait_for(lambda: not laptop.living())
    shutil.rmtree(laptop.work / "runs")
    done = laptop.gpurun("fetch-weights", "--json", "--to", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert [each["values"] for each in json.loads(done.stdout)["weights"]] == [10]
    assert "saved last" in done.stderr
    laptop.gpurun("down", run["run_id"])
    shutil.rmtree(laptop.work / "runs", ignore_errors=True)
    done = laptop.gpurun("fetch-weights", run["run_id"], "--json")
    assert done.returncode == 0, done.stderr
    assert [each["values"] for each in json.loads(done.stdout)["weights"]] == [10]


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ("s3://no-such-bucket-anywhere/x", "there is no bucket no-such-bucket-anywhere"),
        ("s3://Bad_Bucket/x", "is not valid"),
        ("s3://fine-bucket/a//b", "is no prefix"),
    ],
)
def test_a_bad_place_is_told_before_anything_is_launched(laptop, outputs, told):
    done = laptop.gpurun("launch", "--sandbox", "--outputs", outputs, laptop.job("true"))
    assert done.returncode == 2
    assert told in done.stderr
    assert laptop.runs() == []


def test_one_that_cannot_be_written_to_is_told_before_anything_is_launched(laptop, uri, sandbox_api):
    sandbox_api.fault({"match": {"action": "PostObject"}, "effect": {"error": "AccessDenied"}, "times": -1})
    done = laptop.gpurun("launch", "--sandbox", "--outputs", uri, laptop.job("true"))
    assert (done.returncode, laptop.runs()) == (2, [])
    assert "s3:PutObject" in done.stderr


def test_a_bucket_in_another_region_works_and_its_cost_is_told(laptop, aws):
    west = aws.at("eu-west-1")
    bucket = f"outputs-{secrets.token_hex(6)}"
    west.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    run = launch(laptop, f"s3://{bucket}", "echo 1 > $GPURUN_CHECKPOINT_DIR/c; sleep 3")
    assert durable.newest(aws, f"s3://{bucket}", run["run_id"]).checkpoint
    done = laptop.gpurun("launch", "--sandbox", "--dry-run", "--outputs", f"s3://{bucket}", laptop.job("true"))
    assert "eu-west-1" in done.stderr
    assert "USD for each GB" in done.stderr


def test_a_failure_to_send_is_told_while_it_lasts(laptop, uri, sandbox_api):
    job = laptop.job("while [ ! -e go ]; do sleep 0.05; done; echo 1 > $GPURUN_CHECKPOINT_DIR/c; sleep 4")
    sandbox_api.fault({"match": {"action": "PostObject"}, "effect": {"error": "AccessDenied"}, "skip": 1, "times": -1})
    laptop.start("launch", "--sandbox", "--outputs", uri, job)
    laptop.wait_for(lambda: "cannot send to the outputs bucket" in laptop.stderr())
    assert "AccessDenied" in laptop.stderr()
    laptop.gpurun("down")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_machine_of_a_detached_run_goes_once_everything_is_sent(laptop, aws, uri):
    began = time.monotonic()
    launch(laptop, uri, "echo 1 > $GPURUN_OUTPUT_DIR/w", "--detach")
    wait_for(lambda: not laptop.living(), timeout_s=170)
    assert time.monotonic() - began < 170  # the lease's minute, and not the results' thirty
