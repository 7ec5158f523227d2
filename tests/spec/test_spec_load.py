"""A spec that is right becomes the job that it says."""

import os
import tempfile
from pathlib import Path

import pytest

from launcher import spec
from launcher.domain import Device, FloatX, JobSpec, Limits, Requirements, SpotPolicy, SshOptions
from launcher.errors import SpecError


def test_the_least_spec_has_the_defaults(folder, load):
    assert load("run: echo hello") == JobSpec(
        name="my-project", script="echo hello", workdir=folder, resources=Requirements(gpu_count=1)
    )


def test_every_field_arrives(folder, load, monkeypatch):
    monkeypatch.setenv("TOKEN_A", "never shown")
    for name in ("code", "input"):
        (folder / name).mkdir()
    for name in ("code/train.py", "key", "ssh_config"):
        (folder / name).write_text("x")
    found = load("""
name: deck-1
workdir: code
run: [python, train.py, --epochs, 20, --rate, 1e-3, --flag, yes, '']
data: input
env: {EPOCHS: 20, RATE: 1e-3, HEX: 0x10, ON: yes, FLAG: true, EMPTY: '', DATE: 2026-11-20, VERSION: 1.10}
secrets: [TOKEN_A]
device: cpu
floatx: bfloat16
resources:
  gpu: {kind: A10G, count: 2, memory: 24 GiB}
  vcpus: 8
  memory: 32GB
  instance_types: [g5.12xlarge, p4d.24xlarge]
  regions: [us-east-1, eu-west-1]
  zones: [us-east-1a]
  spot: true
  disk: 100.5 GiB
  image: ami-0abcd1234abcd1234
limits: {max_hours: 1.5, max_cost: 3, max_price: 0.75}
outputs: results
checkpoint: false
keep_on_failure: 1h 30m
ssh: {user: ec2-user, key: key, config_file: ssh_config, proxy: "me@bastion:2222"}
""")
    assert found == JobSpec(
        name="deck-1",
        argv=("python", "train.py", "--epochs", "20", "--rate", "1e-3", "--flag", "yes", ""),
        workdir=folder / "code",
        data=folder / "input",
        env={
            "EPOCHS": "20",
            "RATE": "1e-3",
            "HEX": "0x10",
            "ON": "yes",
            "FLAG": "true",
            "EMPTY": "",
            "DATE": "2026-11-20",
            "VERSION": "1.10",
        },
        secrets=("TOKEN_A",),
        device=Device.CPU,
        floatx=FloatX.BFLOAT16,
        resources=Requirements(
            gpu_kind="a10g",
            gpu_count=2,
            gpu_memory_bytes=24 << 30,
            vcpus=8,
            memory_bytes=32 * 10**9,
            instance_types=("g5.12xlarge", "p4d.24xlarge"),
            regions=("us-east-1", "eu-west-1"),
            zones=("us-east-1a",),
            spot=SpotPolicy.SPOT,
            disk_gib=101,
            image="ami-0abcd1234abcd1234",
        ),
        limits=Limits(max_hours=1.5, max_cost_usd=3.0, max_price_usd_per_hour=0.75),
        outputs=folder / "results",
        checkpoint=False,
        keep_on_failure_s=5400.0,
        ssh=SshOptions(user="ec2-user", key=folder / "key", config_file=folder / "ssh_config", proxy="me@bastion:2222"),
    )
    assert "never shown" not in spec.dump(found)


def test_a_script_of_several_lines_stays_as_it_is(load):
    assert load("run: |\n  set -e\n  python train.py --rate 1e-3\n").script == "set -e\npython train.py --rate 1e-3\n"


@pytest.mark.parametrize(
    ("device", "gpu", "kind", "count"),
    [
        ("gpu", None, None, 1), ("cpu", None, None, 0), ("gpu", "t4", "t4", 1), ("gpu", "'a10g:2'", "a10g", 2),
        ("gpu", "3", None, 3), ("gpu", "{memory: 16 GiB}", None, 1), ("cpu", "t4", "t4", 1), ("cpu", "0", None, 0),
        ("cpu", "false", None, 0), ("cpu", "{count: 0}", None, 0), ("gpu", "RTX PRO 6000", "rtx pro 6000", 1),
    ],
)  # fmt: skip
def test_gpus_in_every_form(load, device, gpu, kind, count):
    resources = f"resources: {{gpu: {gpu}}}" if gpu else ""
    found = load(f"run: x\ndevice: {device}\n{resources}").resources
    assert (found.gpu_kind, found.gpu_count) == (kind, count)


@pytest.mark.parametrize(
    ("written", "policy"),
    [("true", SpotPolicy.SPOT), ("false", SpotPolicy.ON_DEMAND), ("prefer", SpotPolicy.PREFER_SPOT)],
)
def test_spot_has_three_policies(load, written, policy):
    assert load(f"run: x\nresources: {{spot: {written}}}").resources.spot is policy


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [("16", 16 << 30), ("1.5", 3 << 29), ("16 GiB", 16 << 30), ("512MiB", 512 << 20), ("1 TB", 10**12),
     ("500 mb", 500 * 10**6), ("2G", 2 * 10**9), ("1Ti", 1 << 40)],
)  # fmt: skip
def test_sizes_in_every_unit(load, written, size_bytes):
    assert load(f"run: x\nresources: {{memory: {written}}}").resources.memory_bytes == size_bytes


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30m", 1800), ("90s", 90), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("false", 0), ("0", 0), ("15 min", 900)],
)
def test_durations_in_every_unit(load, written, seconds):
    assert load(f"run: x\nkeep_on_failure: {written}").keep_on_failure_s == seconds


@pytest.mark.parametrize(
    ("written", "image"),
    [
        ("ami-0abcd123", "ami-0abcd123"), ("gpu_theano", "name:gpu_theano"), ("'name:gpu_*'", "name:gpu_*"),
        ("'tag:gpurun:image=latest'", "tag:gpurun:image=latest"), ("ssm:/aws/service/x", "ssm:/aws/service/x"),
    ],
)  # fmt: skip
def test_images_in_every_form(load, written, image):
    assert load(f"run: x\nresources: {{image: {written}}}").resources.image == image


def test_a_zone_alone_says_its_region(load):
    found = load("run: x\nresources: {zones: [us-east-1b, us-west-2-lax-1a, us-east-1a]}").resources
    assert found.regions == ("us-east-1", "us-west-2")


def test_one_value_stands_for_a_list(load):
    found = load("run: x\nresources: {instance_types: g4dn.xlarge, regions: eu-west-1}").resources
    assert (found.instance_types, found.regions) == (("g4dn.xlarge",), ("eu-west-1",))


def test_fields_left_empty_have_their_defaults(load):
    assert load("run: x\nresources:\n  # gpu: t4\ndata:\nlimits: ~\n") == load("run: x")


def test_the_folder_of_the_spec_counts_and_not_the_current_one(folder, load, monkeypatch, tmp_path):
    (folder / "input").mkdir()
    monkeypatch.chdir(tmp_path)
    found = load("run: x\ndata: input\nworkdir: .")
    assert (found.workdir, found.data) == (folder, folder / "input")


def test_home_and_absolute_paths_are_taken(folder, load, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(folder))
    (folder / "input").mkdir()
    assert load("run: x\ndata: ~/input").data == folder / "input"
    assert load(f"run: x\ndata: {tmp_path}").data == tmp_path


def test_an_address_of_s3_is_kept_as_text(load):
    assert load("run: x\ndata: s3://bucket/some prefix").data == "s3://bucket/some prefix"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("gpurun.yaml", "my-project"),
        ("Train MNIST!.yml", "train-mnist"),
        ("ä.yaml", "run"),
        ("x" * 80 + ".yaml", "x" * 41),
    ],
)
def test_the_name_comes_from_the_file_or_folder(folder, file, name):
    (folder / file).write_text("run: x")
    assert spec.load(folder / file).name == name


def test_a_folder_stands_for_its_spec(folder, load):
    expected = load("run: x")
    assert spec.load(folder) == expected


def test_a_byte_order_mark_is_no_mistake(load):
    assert load(b"\xef\xbb\xbfrun: x").script == "x"


def test_windows_line_ends_are_no_mistake(load):
    assert load(b"run: x\r\ndevice: cpu\r\n").device is Device.CPU


def test_anchors_are_followed(load):
    assert load("run: x\nenv: {A: &value '1', B: *value}").env == {"A": "1", "B": "1"}


def test_a_missing_spec_is_told_with_near_names_and_the_next_step(folder):
    (folder / "gpurun.yml").write_text("run: x")
    with pytest.raises(SpecError, match=r"no spec .*gpurun\.yaml; did you mean gpurun\.yml\?") as caught:
        spec.load(folder / "gpurun.yaml")
    assert "gpurun init" in caught.value.hint


def test_a_missing_spec_in_a_missing_folder_is_told(tmp_path):
    with pytest.raises(SpecError, match="no spec"):
        spec.load(tmp_path / "nowhere" / "gpurun.yaml")


def test_an_unreadable_spec_is_told():
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "gpurun.yaml"
        path.write_text("run: x")
        path.chmod(0)
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(SpecError, match=r"cannot read .*Permission denied"):
                spec.load(path)
        finally:
            os.seteuid(me)


def test_outputs_in_a_folder_of_somebody_else_are_refused():
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        (folder / "gpurun.yaml").write_text("run: x\noutputs: results/of/mine")
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(SpecError) as caught:
                spec.load(folder / "gpurun.yaml")
        finally:
            os.seteuid(me)
            folder.chmod(0o755)
        (problem,) = caught.value.problems
        assert problem.endswith(
            "results/of/mine cannot be written to (Permission denied), expected a folder for the results"
        )


def test_outputs_may_lie_in_s3(load):
    assert load("run: x\noutputs: s3://bucket/some/prefix/").outputs == "s3://bucket/some/prefix"
    assert load("run: x\noutputs: s3://bucket").outputs == "s3://bucket"


def test_looking_at_an_outputs_folder_makes_nothing(folder, load):
    load("run: x\noutputs: results/deep")
    assert [each.name for each in folder.iterdir()] == ["gpurun.yaml"]


def test_unreadable_data_is_told():
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "gpurun.yaml").write_text("run: x\ndata: secret.csv")
        (folder / "secret.csv").write_text("1,2")
        (folder / "secret.csv").chmod(0)
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(SpecError) as caught:
                spec.load(folder / "gpurun.yaml")
        finally:
            os.seteuid(me)
    (problem,) = caught.value.problems
    assert ":2:7: data: " in problem
    assert "cannot be read (Permission denied)" in problem
