"""An installed gpurun bakes as a checkout does: the recipe is in the wheel."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
UV = shutil.which("uv") or str(Path(sys.executable).parent / "uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [UV, "build", "--offline", "--wheel", "--quiet", "--out-dir", folder, TOP]
    subprocess.run(build, check=True, timeout=100)
    return next(folder.glob("*.whl"))


def test_the_recipe_is_in_the_wheel(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {path.relative_to(TOP).as_posix() for path in (TOP / "ami").rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} <= held


def test_a_bake_is_planned_from_an_empty_folder_by_what_was_installed(wheel, sandbox_none, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([UV, "venv", "--offline", "--quiet", "--python", sys.executable, installed], check=True, timeout=60)
    python = installed / "bin/python"
    install = [UV, "pip", "install", "--offline", "--quiet", "--no-deps", "--python", python, wheel]
    subprocess.run(install, check=True, timeout=60)
    packages = Path(next(installed.glob("lib/python*/site-packages")))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    state = tmp_path / "state/gpurun"
    state.mkdir(parents=True)
    (state / "sandbox").symlink_to(sandbox_none.state)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["XDG_STATE_HOME"] = str(tmp_path / "state")
    found = subprocess.run(
        [installed / "bin/gpurun", "ami", "bake", "--sandbox", "--dry-run"],
        cwd=empty,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04)" in found.stderr
    where = [python, "-c", "import launcher.bake.recipe as r; print(r.read().folder)"]
    told = subprocess.run(where, cwd=empty, env=env, capture_output=True, text=True, check=True)
    assert Path(told.stdout.strip()) == (packages / "ami").resolve()
