"""The line from a script to verified results, seen from outside."""

import json
import pickle
import subprocess

import pytest

from launcher.aws.client import Aws


def test_a_bare_script_goes_there_and_its_results_come_home(laptop):
    job = laptop.job('echo "hello $1"; echo kept > $GPURUN_OUTPUT_DIR/kept.txt\n')
    done = laptop.gpurun("launch", "--sandbox", job, "--", "world")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello world\n"
    (run,) = laptop.runs()
    assert run["status"] == "succeeded"
    results = laptop.work / "runs" / run["run_id"]
    assert (results / "kept.txt").read_text() == "kept\n"
    assert (results / "gpurun" / "log.txt").read_text() == "hello world\n"
    receipt = json.loads((results / "gpurun" / "receipt.json").read_text())
    assert receipt["exit_status"] == 0
    assert receipt["cost_usd"] > 0
    names = [phase["name"] for phase in receipt["phases"]]
    assert names == ["plan", "provision", "boot", "connect", "sync", "start", "first log", "run", "fetch", "terminate"]
    assert laptop.living() == []


def test_the_job_has_its_contract_and_sees_nothing_of_the_laptop(laptop):
    (laptop.home / "secret.txt").write_text("mine")
    (laptop.work / "module.py").write_text("print('imported')\n")
    laptop.job(
        "import os, module\n"
        "for name in sorted(os.environ):\n"
        "    if name.startswith(('GPURUN_', 'CUDA', 'MPL', 'PYTHONUNB')): print(name, os.environ[name])\n"
        f"print(os.path.exists({str(laptop.home / 'secret.txt')!r}), os.getcwd() != {str(laptop.work)!r})\n",
        "train.py",
    )
    done = laptop.gpurun("launch", "--sandbox", "train.py", "--device", "cpu", "--floatx", "float64")
    assert done.returncode == 0, done.stderr
    assert "imported\n" in done.stdout
    for line in ("GPURUN_DEVICE cpu", "GPURUN_FLOATX float64", "MPLBACKEND Agg", "PYTHONUNBUFFERED 1"):
        assert line in done.stdout
    if laptop.cloud.hosts == "namespaces":
        assert "False True" in done.stdout


def test_the_jobs_exit_status_is_gpuruns_and_its_results_still_come_home(laptop):
    job = laptop.job("echo partial > $GPURUN_OUTPUT_DIR/partial.txt; echo oops >&2; exit 7\n")
    done = laptop.gpurun("launch", "--sandbox", job)
    assert done.returncode == 7
    assert "exited with status 7" in done.stderr
    (run,) = laptop.runs()
    assert (run["status"], run["exit_status"]) == ("failed", 7)
    assert (laptop.work / "runs" / run["run_id"] / "partial.txt").read_text() == "partial\n"
    assert laptop.living() == []


def test_a_job_killed_by_a_signal_is_told_as_one(laptop):
    done = laptop.gpurun("launch", "--sandbox", laptop.job("kill -9 $$\n"))
    assert done.returncode == 137
    assert laptop.living() == []


def test_json_is_one_object_a_line_and_ends_with_the_receipt(laptop):
    done = laptop.gpurun("launch", "--sandbox", "--json", laptop.job("echo hello\n"))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[-1] == "receipt"
    assert {"plan", "phase", "log", "receipt"} <= set(kinds)
    assert "".join(event["text"] for event in events if event["event"] == "log") == "hello\n"


def test_a_dry_run_plans_and_prices_and_leaves_nothing(laptop):
    done = laptop.gpurun("launch", "--sandbox", "--dry-run", laptop.job("true\n"))
    assert done.returncode == 0
    assert "USD an hour" in done.stderr
    assert laptop.runs() == []


def test_without_a_terminal_and_without_yes_nothing_is_bought(laptop, monkeypatch):
    account = laptop.cloud.account
    done = laptop.gpurun(
        "launch",
        laptop.job("true\n"),
        AWS_CONFIG_FILE=str(account.config_file),
        AWS_SHARED_CREDENTIALS_FILE=str(account.credentials_file),
        AWS_PROFILE=account.profile,
    )
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert laptop.runs() == []


def test_pickled_weights_come_home_and_are_opened_without_executing_anything(laptop):
    laptop.job(
        "import os, pickle, numpy\n"
        "weights = {'w': numpy.arange(6.0).reshape(2, 3), 'b': numpy.zeros(3, 'float32')}\n"
        "pickle.dump(weights, open(os.environ['GPURUN_OUTPUT_DIR'] + '/weights.pkl', 'wb'))\n",
        "train.py",
    )
    assert laptop.gpurun("launch", "--sandbox", "train.py", "--device", "cpu").returncode == 0
    done = laptop.gpurun("fetch-weights", "--format", "npz", "--to", "elsewhere", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["weights"]
    assert (row["arrays"], row["values"]) == (2, 9)
    assert row["file"].endswith("weights.npz")


def test_hostile_weights_are_refused_and_named(laptop):
    laptop.job(
        "import os, pickle\n"
        "class Evil:\n    def __reduce__(self): return os.system, ('touch pwned',)\n"
        "pickle.dump({'w': Evil()}, open(os.environ['GPURUN_OUTPUT_DIR'] + '/weights.pkl', 'wb'))\n",
        "train.py",
    )
    assert laptop.gpurun("launch", "--sandbox", "train.py", "--device", "cpu").returncode == 0
    done = laptop.gpurun("fetch-weights")
    assert done.returncode == 6
    assert "system" in done.stderr
    assert not list(laptop.home.rglob("pwned"))


def test_secrets_reach_the_job_and_rest_nowhere(laptop):
    (laptop.work / "gpurun.yaml").write_text("name: secretive\nrun: echo ${#TOKEN}\ndevice: cpu\nsecrets: [TOKEN]\n")
    done = laptop.gpurun("launch", "--sandbox", TOKEN="s3cr3t-value-of-mine")
    assert done.stdout == "20\n", done.stderr
    for path in laptop.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"s3cr3t-value-of-mine" not in path.read_bytes(), path


def test_an_independent_client_sees_one_safe_machine_and_then_none(laptop):
    process = laptop.start(
        "launch", "--sandbox", laptop.job("while [ ! -e stop ]; do sleep 0.05; done\n"), "--disk", "60"
    )
    laptop.wait_for_event("job.started")
    aws = Aws(laptop.cloud.account)
    (instance,) = laptop.instances("running")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    behaviour = aws.ec2.describe_instance_attribute(
        InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    run_id = laptop.runs()[0]["run_id"]
    mine = [{"Name": "tag:gpurun:run", "Values": [run_id]}]
    (volume,) = aws.ec2.describe_volumes(Filters=mine)["Volumes"]
    assert volume["Encrypted"]
    assert volume["Attachments"][0]["DeleteOnTermination"]
    groups = [group["GroupId"] for group in instance["SecurityGroups"]]
    allowed = [
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], [each["CidrIp"] for each in rule["IpRanges"]])
        for group in aws.ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
        for rule in group["IpPermissions"]
    ]
    assert allowed == [("tcp", 22, 22, ["127.0.0.1/32"])]
    assert laptop.gpurun("ssh", run_id, "--", "touch", f"gpurun/{run_id}/code/stop").returncode == 0
    assert process.wait(30) == 0, laptop.stderr()
    assert laptop.living() == []
    assert aws.ec2.describe_volumes(Filters=mine)["Volumes"] == []
    assert aws.ec2.describe_key_pairs(Filters=mine)["KeyPairs"] == []
    assert aws.ec2.describe_launch_templates(Filters=mine)["LaunchTemplates"] == []
    assert aws.ec2.describe_security_group_rules(Filters=mine)["SecurityGroupRules"] == []


@pytest.mark.parametrize("tool", ["ssh", "scp", "rsync"])
def test_plain_ssh_scp_and_rsync_reach_the_run_by_its_name(laptop, tool):
    import shutil

    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on this machine")
    process = laptop.start(
        "launch", "--sandbox", laptop.job("while [ ! -e stop ]; do sleep 0.05; done\n"), "--name", "reach"
    )
    laptop.wait_for_event("job.started")
    config = str(laptop.state.ssh_config)
    (laptop.work / "local.txt").write_text("from the laptop\n")
    commands = {
        "ssh": ["ssh", "-F", config, "reach", "cat > there.txt"],
        "scp": ["scp", "-q", "-F", config, "local.txt", "reach:there.txt"],
        "rsync": ["rsync", "-e", f"ssh -F {config}", "local.txt", "reach:there.txt"],
    }
    source = (laptop.work / "local.txt").open("rb")
    done = subprocess.run(commands[tool], cwd=laptop.work, stdin=source, capture_output=True, text=True, check=False)
    source.close()
    assert done.returncode == 0, done.stderr
    effective = subprocess.run(["ssh", "-F", config, "-G", "reach"], capture_output=True, text=True, check=True).stdout
    assert "stricthostkeychecking true" in effective or "stricthostkeychecking yes" in effective
    read = subprocess.run(["ssh", "-F", config, "reach", "cat there.txt"], capture_output=True, text=True, check=False)
    assert read.stdout == "from the laptop\n"
    run_id = laptop.runs()[0]["run_id"]
    subprocess.run(["ssh", "-F", config, "reach", f"touch gpurun/{run_id}/code/stop"], check=True, capture_output=True)
    assert process.wait(30) == 0


def test_the_key_of_the_user_is_repaired_and_used(laptop):
    key = laptop.home / "mine.pem"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    key.chmod(0o644)
    done = laptop.gpurun("launch", "--sandbox", "--key", str(key), laptop.job("echo in\n"))
    assert done.returncode == 0, done.stderr
    assert "0400" in done.stderr
    assert key.stat().st_mode & 0o777 == 0o400
    assert key.exists()


def test_the_pickle_on_disk_is_what_the_job_wrote(laptop):
    laptop.job(
        "import os, pickle, numpy, hashlib\n"
        "path = os.environ['GPURUN_OUTPUT_DIR'] + '/weights.pkl'\n"
        "pickle.dump({'w': numpy.random.default_rng(0).normal(size=(300, 300))}, open(path, 'wb'))\n"
        "print(hashlib.sha256(open(path, 'rb').read()).hexdigest())\n",
        "train.py",
    )
    import hashlib

    done = laptop.gpurun("launch", "--sandbox", "train.py", "--device", "cpu")
    path = next((laptop.work / "runs").glob("*/weights.pkl"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == done.stdout.strip()
    assert set(pickle.loads(path.read_bytes())) == {"w"}
