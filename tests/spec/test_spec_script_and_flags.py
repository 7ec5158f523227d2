"""A bare script becomes a job, and flags change one, checked as the spec is."""

from dataclasses import replace
from pathlib import Path

import pytest

from launcher import spec
from launcher.domain import Device, FloatX, JobSpec, Limits, Requirements, SpotPolicy
from launcher.errors import SpecError
from launcher.spec import Overrides


@pytest.fixture
def job(folder):
    return JobSpec(name="job", script="x", workdir=folder, resources=Requirements(gpu_count=1))


def test_a_python_script_runs_with_its_arguments_from_the_current_folder(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "Train It.py").write_text("x")
    found = spec.for_script(Path("deep/Train It.py"), ["--epochs", "20"], cwd=folder)
    assert found == JobSpec(
        name="train-it",
        argv=("python", "deep/Train It.py", "--epochs", "20"),
        workdir=folder,
        resources=Requirements(gpu_count=1),
    )


def test_a_script_elsewhere_runs_from_its_own_folder(folder, tmp_path):
    (folder / "train.py").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    found = spec.for_script(Path("../my project/train.py"), [], cwd=tmp_path / "elsewhere")
    assert (found.workdir, found.argv) == (folder, ("python", "train.py"))


def test_shell_scripts_and_programs_run_in_their_own_way(folder):
    (folder / "go.sh").write_text("x")
    (folder / "go").write_text("x")
    (folder / "go").chmod(0o755)
    assert spec.for_script(Path("go.sh"), ["a"], cwd=folder).argv == ("bash", "go.sh", "a")
    assert spec.for_script(folder / "go", [], cwd=folder).argv == ("./go",)


@pytest.mark.parametrize(
    ("name", "told", "hint"),
    [
        ("trian.py", r"no script .*trian.py \(did you mean 'train.py'\?\)", "ls "),
        ("nothing/like/it.py", "no script", "ls "),
        (".", "is not a file", "name a script"),
        ("notes.txt", "neither a .py nor a .sh file nor executable", "chmod +x "),
    ],
)
def test_what_is_no_script_is_told_with_the_next_step(folder, name, told, hint):
    (folder / "train.py").write_text("x")
    (folder / "notes.txt").write_text("x")
    with pytest.raises(SpecError, match=told) as caught:
        spec.for_script(Path(name), [], cwd=folder)
    assert hint in caught.value.hint


def test_no_flag_changes_nothing(job):
    assert spec.override(job, Overrides()) == job


def test_every_flag_arrives(job, folder, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "key").write_text("x")
    changes = Overrides(
        name="new", device="cpu", floatx="float64", data="input", max_hours=2, max_cost=3.5, max_price=0.5,
        instance_types=("g5.xlarge",), regions=("us-east-1",), zones=("us-east-1a",), spot="false",
        image="gpu_theano", disk="100 GiB", outputs="out", key="key", env=("A=1", "B=x=y", "C="), gpu="t4:2",
    )  # fmt: skip
    found = spec.override(job, changes, cwd=tmp_path)
    assert (found.name, found.device, found.floatx) == ("new", Device.CPU, FloatX.FLOAT64)
    assert (found.data, found.outputs, found.ssh.key) == (tmp_path / "input", tmp_path / "out", tmp_path / "key")
    assert found.limits == Limits(max_hours=2.0, max_cost_usd=3.5, max_price_usd_per_hour=0.5)
    assert found.env == {"A": "1", "B": "x=y", "C": ""}
    assert found.resources == Requirements(
        gpu_kind="t4", gpu_count=2, instance_types=("g5.xlarge",), regions=("us-east-1",), zones=("us-east-1a",),
        spot=SpotPolicy.ON_DEMAND, disk_gib=100, image="name:gpu_theano",
    )  # fmt: skip
    assert (found.workdir, found.script) == (folder, "x")


def test_all_wrong_flags_come_at_once_named_by_the_flag(job, folder):
    changes = Overrides(
        name="Bad Name", device="gqu", floatx="float1", data="nowhere", max_hours=-1, max_cost=float("nan"),
        max_price=0, instance_types=("large",), regions=("mars",), spot="perhaps", image="ami-x", disk="0",
        outputs=folder / "file", key="nokey", env=("A", "1=2"), gpu="t4:x",
    )  # fmt: skip
    (folder / "file").write_text("x")
    with pytest.raises(SpecError, match="17 flags are wrong") as caught:
        spec.override(job, changes, cwd=folder)
    flags = {problem.split(":")[0] for problem in caught.value.problems}
    assert flags == {
        "--name", "--device", "--floatx", "--data", "--max-hours", "--max-cost", "--max-price", "--instance-type",
        "--region", "--spot", "--image", "--disk", "--outputs", "--key", "--env", "--gpu",
    }  # fmt: skip
    assert all(", expected " in problem for problem in caught.value.problems)


def test_one_wrong_flag_is_the_message_itself(job):
    with pytest.raises(SpecError, match=r"^--max-hours: -1 is out of range") as caught:
        spec.override(job, Overrides(max_hours=-1))
    assert "--help" in caught.value.hint


@pytest.mark.parametrize("most", [1e9, 1e300, float("inf"), float("nan")])
def test_limits_beyond_all_sense_are_refused(job, most):
    with pytest.raises(SpecError) as caught:
        spec.override(job, Overrides(max_hours=most, max_cost=most, max_price=most))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["--max-hours", "--max-cost", "--max-price"]
    assert "at most 720 hours" in caught.value.problems[0]


def test_the_largest_limits_are_taken(job):
    found = spec.override(job, Overrides(max_hours=720, max_cost=1e6, max_price=1e4, disk="64 TiB"))
    assert found.limits == Limits(max_hours=720.0, max_cost_usd=1e6, max_price_usd_per_hour=1e4)
    assert found.resources.disk_gib == 65_536


def test_outputs_below_a_file_are_refused(job, folder):
    (folder / "file").write_text("x")
    with pytest.raises(SpecError, match=r"^--outputs: .*file is not a folder, so .*file/x cannot be made"):
        spec.override(job, Overrides(outputs="file/x"), cwd=folder)


def test_flags_come_over_the_environment_of_the_spec(job):
    found = spec.override(replace(job, env={"A": "1", "B": "2"}), Overrides(env=("B=3",)))
    assert found.env == {"A": "1", "B": "3"}


@pytest.mark.parametrize(
    ("before", "device", "count"),
    [
        (Requirements(gpu_count=1), "cpu", 0),
        (Requirements(gpu_count=0), "gpu", 1),
        (Requirements(gpu_kind="t4", gpu_count=1), "cpu", 1),
        (Requirements(gpu_count=4), "cpu", 4),
    ],
)
def test_a_gpu_that_only_the_device_asked_for_goes_with_it(job, before, device, count):
    assert spec.override(replace(job, resources=before), Overrides(device=device)).resources.gpu_count == count


def test_a_device_without_its_gpu_is_refused(job):
    with pytest.raises(SpecError, match="--gpu: no GPU is asked for, but the device is gpu"):
        spec.override(job, Overrides(gpu="0"))


def test_a_region_that_leaves_the_zone_of_the_spec_out_is_refused(job):
    zoned = replace(job, resources=Requirements(zones=("us-east-1a",), regions=("us-east-1",)))
    with pytest.raises(SpecError, match="--region: us-east-1a lies outside of eu-west-1"):
        spec.override(zoned, Overrides(regions=("eu-west-1",)))
    moved = spec.override(zoned, Overrides(zones=("eu-west-1b",)))
    assert moved.resources.regions == ("eu-west-1",)


@pytest.mark.parametrize(
    ("word", "meant"), [("arm64", "arm64"), ("aarch64", "arm64"), ("x86_64", "x86_64"), ("AMD64", "x86_64")]
)
def test_an_architecture_has_more_than_one_name(job, word, meant):
    assert spec.override(job, Overrides(architecture=word)).resources.architecture == meant


def test_an_unknown_architecture_is_told_with_the_known_ones(job):
    with pytest.raises(SpecError, match=r"'arm' is not known.*expected x86_64 or arm64"):
        spec.override(job, Overrides(architecture="arm"))


def test_all_stands_for_every_region_and_takes_any_zone(job):
    found = spec.override(job, Overrides(regions=("all",), zones=("eu-west-1a",))).resources
    assert (found.regions, found.zones) == (("all",), ("eu-west-1a",))
