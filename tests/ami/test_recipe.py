"""The recipe's scripts, run for real: in a scratch prefix, on a scratch root, without apt and without PyPI."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import hcl2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launcher.aws.tags import TAG_BAKE, TAG_IMAGE
from launcher.bake import recipe
from launcher.deploy import boot

AMI = Path(__file__).parents[2] / "ami"


def wheel(folder: Path, name: str, *, needs: str = "") -> Path:
    """The smallest package that pip installs."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "ANSWER = 42\n")
        requires = f"Requires-Dist: {needs}\n" if needs else ""
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


class Prefix:
    def __init__(self, top: Path) -> None:
        self.path, self.versions = top / "prefix", top / "versions.env"

    def write(self, packages: str, python: str = f"{sys.version_info[0]}.{sys.version_info[1]}") -> None:
        text = (AMI / "versions.env").read_text()
        new = {"SYSTEM_PACKAGES": "", "PYTHON_VERSIONS": python, "PYTHON_PACKAGES": packages, "PREFIX": self.path}
        new["LAUNCHER_PACKAGES"] = ""
        for key, value in new.items():
            text, count = re.subn(f'(?m)^{key}=".*"$', f'{key}="{value}"', text)
            assert count == 1
        self.versions.write_text(text)

    def provision(self, folder: Path = AMI) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.path.parent), "PIP_NO_INDEX": "1"}
        versions = self.versions if folder == AMI else folder / "versions.env"
        command = ["bash", str(folder / "provision.sh"), str(versions)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    def answer(self, name: str) -> str:
        code = f"import {name}; print({name}.ANSWER)"
        command = [self.path / "bin/python", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    top = tmp_path_factory.mktemp("recipe")
    prefix = Prefix(top)
    prefix.write(str(wheel(top / "wheels", "first")))
    done = prefix.provision()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ready: Python 3." in done.stdout
    return prefix


def test_a_second_time_does_nothing_and_a_store_of_data_stays(provisioned):
    (provisioned.path / "store").mkdir(exist_ok=True)
    (provisioned.path / "store/data").write_text("kept")
    python = (provisioned.path / "bin/python").lstat().st_mtime_ns
    again = provisioned.provision()
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("nothing to do") == 2
    assert (provisioned.path / "bin/python").lstat().st_mtime_ns == python
    assert (provisioned.path / "store/data").read_text() == "kept"
    assert provisioned.answer("first") == "42"


def test_it_goes_on_after_a_break_in_mid_installation(provisioned, tmp_path):
    (provisioned.path / "store").mkdir(exist_ok=True)
    (provisioned.path / "store/data").write_text("kept")
    (provisioned.path / ".provisioned").unlink()
    shutil.rmtree(next(provisioned.path.glob("lib/python3*/site-packages/pip")))  # half of an environment
    again = provisioned.provision()
    assert again.returncode == 0, again.stderr
    assert provisioned.answer("first") == "42"
    assert (provisioned.path / "store/data").read_text() == "kept"


def test_what_cannot_be_installed_leaves_no_stamp_and_new_versions_are_installed(provisioned, tmp_path):
    before = provisioned.versions.read_text()
    provisioned.write(str(wheel(tmp_path / "w", "third", needs="not-to-be-had")))
    broken = provisioned.provision()
    assert broken.returncode != 0
    assert not (provisioned.path / ".provisioned").exists()
    provisioned.write(str(wheel(tmp_path / "w", "second")))
    assert provisioned.provision().returncode == 0
    assert provisioned.answer("second") == "42"
    provisioned.versions.write_text(before)


def test_a_wheel_beside_the_versions_is_found_by_its_name(provisioned, tmp_path):
    folder = tmp_path / "recipe"
    shutil.copytree(AMI, folder, ignore=shutil.ignore_patterns("__pycache__", "sandbox"))
    before = provisioned.versions.read_text()
    provisioned.write("beside==1.0")
    shutil.copy(provisioned.versions, folder / "versions.env")
    assert provisioned.provision(folder).returncode != 0
    wheel(folder, "beside")
    done = provisioned.provision(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert provisioned.answer("beside") == "42"
    provisioned.versions.write_text(before)


def test_what_its_python_has_is_inherited_where_that_is_asked_for(provisioned):
    before = provisioned.versions.read_text()
    hypothesis = [provisioned.path / "bin/python", "-c", "import hypothesis"]
    assert subprocess.run(hypothesis, capture_output=True, check=False).returncode == 1
    provisioned.versions.write_text(before.replace('INHERIT_PACKAGES="no"', 'INHERIT_PACKAGES="yes"'))
    done = provisioned.provision()
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run(hypothesis, capture_output=True, check=False).returncode == 0
    provisioned.versions.write_text(before)
    assert provisioned.provision().returncode == 0
    assert subprocess.run(hypothesis, capture_output=True, check=False).returncode == 1


def test_no_python_is_told_with_the_setting_to_change(tmp_path):
    prefix = Prefix(tmp_path)
    prefix.write("", python="3.1")
    done = prefix.provision()
    assert done.returncode == 1
    assert "none of Python 3.1 is here" in done.stderr


def test_the_image_has_what_the_launcher_needs_on_a_machine_that_begins_by_itself():
    versions = recipe.parse((AMI / "versions.env").read_text())
    pinned = [Requirement(each) for each in f"{versions['PYTHON_PACKAGES']} {versions['LAUNCHER_PACKAGES']}".split()]
    has = {canonicalize_name(each.name): next(iter(each.specifier)).version for each in pinned}
    wanted = [Requirement(each) for each in boot.requirements(notices=True).split()]
    assert {canonicalize_name(each.name) for each in wanted} <= has.keys()
    assert all(each.specifier.contains(has[canonicalize_name(each.name)]) for each in wanted)


def test_the_scripts_are_clean():
    command = [Path(sys.executable).parent / "shellcheck", "-x", "provision.sh", "clean.sh"]
    found = subprocess.run(command, cwd=AMI, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


DIRTY = (
    "home/ubuntu/.ssh/authorized_keys",
    "home/ubuntu/.bash_history",
    "home/ubuntu/.python_history",
    "home/ubuntu/.aws/credentials",
    "home/ubuntu/gpurun/bake/state",
    "root/.ssh/authorized_keys",
    "root/.bash_history",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "var/lib/gpurun/deadline-1",
    "var/lib/cloud/instance/user-data.txt",
    "var/lib/cloud/data/instance-id",
    "var/log/cloud-init-output.log",
    "tmp/left",
)
KEPT = ("home/ubuntu/.bashrc", "etc/ssh/sshd_config", "opt/gpurun/bin/python", "var/lib/cloud/scripts/per-boot/x")


def test_nothing_that_is_this_machines_stays(tmp_path):
    for name in (*DIRTY, *KEPT, "etc/machine-id", "var/log/auth.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")
    for _ in range(2):
        subprocess.run(["bash", AMI / "clean.sh", tmp_path], check=True, capture_output=True)
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {*KEPT, "etc/machine-id", "var/log/auth.log"}
        assert (tmp_path / "etc/machine-id").read_text() == (tmp_path / "var/log/auth.log").read_text() == ""


def test_cleaning_wants_to_be_told_where():
    assert subprocess.run(["bash", AMI / "clean.sh"], capture_output=True, check=False).returncode == 2


def smoke(folder: Path, path: str = "") -> tuple[int, dict]:
    env = os.environ | {"GPURUN_OUTPUT_DIR": str(folder), "PYTHONPATH": path}
    command = [sys.executable, AMI / "smoke_test.py"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    found = json.loads(done.stdout.splitlines()[-1])
    assert json.loads((folder / "smoke.json").read_text()) == found
    return done.returncode, found


def test_tensorflow_trains_and_a_missing_gpu_is_said(tmp_path):
    pytest.importorskip("tensorflow")
    status, found = smoke(tmp_path)
    assert (status, found["ok"], found["steps"]) == (0, True, 10)
    assert found["last_loss"] < found["first_loss"] / 2
    assert found["gpu_visible"] is bool(found["gpus"])
    assert found["gpu_visible"] or found["no_gpu_because"]


def test_a_tensorflow_that_cannot_be_imported_is_told(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libcudart.so.12 is not there')")
    (tmp_path / "keras.py").write_text("")
    status, found = smoke(tmp_path, str(tmp_path))
    assert (status, found["ok"]) == (1, False)
    assert found["trouble"] == "ImportError: libcudart.so.12 is not there"


def test_packer_uses_the_same_files_in_the_same_order():
    template = hcl2.loads((AMI / "gpurun.pkr.hcl").read_text())
    values = template["locals"][0]
    listed = re.fullmatch(r'\$\{concat\((\[.*?\]), sort\(fileset\(path.root, "\*.whl"\)\)\)\}', values["files"])
    assert listed is not None
    assert json.loads(listed[1]) == list(recipe.FILES)
    (steps,) = (build["provisioner"] for build in template["build"])
    assert [next(iter(step)) for step in steps] == ['"shell"', '"file"', '"shell"']
    assert "for name in local.files" in steps[1]['"file"']["sources"]
    assert {key.strip('"') for key in values["tags"]} >= {TAG_IMAGE, TAG_BAKE, "gpurun:recipe"}
    (source,) = template["source"]
    assert source['"amazon-ebs"']['"gpurun"']["encrypt_boot"] is True
    base = re.search(r'(?m)^BASE_IMAGE="ssm:([^"]+)"', (AMI / "versions.env").read_text())
    assert base is not None
    assert base[1].startswith("/aws/service/deeplearning/ami/{architecture}/")
