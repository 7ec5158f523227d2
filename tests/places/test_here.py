"""A run on this very machine: its results, its end, and whatever may come between."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.places.conftest import WHOLE, WORK


def test_results_come_home_verified_and_nothing_of_it_stays(desk) -> None:
    done = desk.gpurun("launch", "--on", "local", desk.job(WORK + "echo $HOME > $GPURUN_OUTPUT_DIR/home\n"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == WHOLE
    run = desk.run()
    assert (run["status"], run["place"], run["market"], run["cost_usd"]) == ("succeeded", "local", "yours", 0.0)
    results = desk.results()
    assert (results / "w.txt").read_text() == "weights\n"
    assert (results / "home").read_text() == f"{desk.home}\n"  # the job's home is the user's, the agent's is not
    assert (results / "gpurun" / "log.txt").read_text() == WHOLE
    assert desk.here() == []
    assert sorted(path.name for path in desk.home.iterdir()) == ["state", "work"]
    assert "nothing, " in done.stderr
    assert "local, yours" in done.stderr
    desk.wait_for(lambda: not desk.processes(), 10)


def test_neither_a_network_nor_an_account_is_needed(desk) -> None:
    isolated = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--net")
    if subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    job = desk.job("echo $CUDA_VISIBLE_DEVICES; exit 0")
    planned = desk.gpurun("launch", "--on", "local", "--dry-run", "--device", "cpu", job, below=isolated)
    assert planned.returncode == 0, planned.stderr
    assert desk.runs() == []
    done = desk.gpurun("launch", "--on", "local", "--device", "cpu", job, below=isolated)
    assert (done.returncode, done.stdout) == (0, "-1\n"), done.stderr


def test_a_job_for_a_gpu_is_told_that_there_is_none(desk) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is one here")
    done = desk.gpurun("launch", "--on", "local", "--device", "gpu", "--dry-run", desk.job("true"))
    assert "warning: the job is to run on a GPU, and nvidia-smi shows none on local" in done.stderr


def test_the_job_s_own_status_is_handed_through(desk) -> None:
    done = desk.gpurun("launch", "--on", "local", desk.job("echo half > $GPURUN_OUTPUT_DIR/half; exit 7"))
    assert done.returncode == 7
    assert desk.run()["status"] == "failed"
    assert (desk.results() / "half").read_text() == "half\n"
    assert desk.here() == []


def test_the_job_has_the_path_of_the_user(desk, tmp_path: Path) -> None:
    programs = tmp_path / "my programs"
    programs.mkdir()
    (programs / "greet").write_text("#!/bin/sh\necho good day\n")
    (programs / "greet").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = desk.gpurun("launch", "--on", "local", desk.job("greet\necho $PATH"), PATH=path)
    assert done.stdout == f"good day\n{path}\n", done.stderr


def test_nothing_of_the_agent_s_own_settings_reaches_the_job(desk) -> None:
    done = desk.gpurun("launch", "--on", "local", desk.job("env | grep -c AGENT_HOME || true"))
    assert done.stdout == "0\n"
