"""`gpurun sandbox`, as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.sandbox import control


class Shell:
    """gpurun with a state folder of its own."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = environment | {"XDG_STATE_HOME": str(home)}

    def __call__(self, *arguments: str, status: int = 0) -> str:
        argv = [sys.executable, "-m", "launcher.cli", "sandbox", *arguments]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def gpurun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home = tmp_path_factory.mktemp("shell")
    yield Shell(home, dict(os.environ))
    control.stop(home / "gpurun" / "sandbox")


def test_a_day_with_the_sandbox(gpurun: Shell) -> None:
    assert "no sandbox is running" in gpurun("status")
    assert json.loads(gpurun("status", "--json")) == {"running": False, "instances": []}
    assert "gpurun sandbox start" in gpurun("env", status=2)

    assert "with none hosts" in gpurun("start", "--hosts", "none")
    script = gpurun("env") + (
        "aws ssm get-parameter --query Parameter.Value --output text "
        "--name /aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
    )
    image = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert image.stdout.startswith("ami-")

    gpurun("fault", "add", "InsufficientInstanceCapacity", "--action", "CreateFleet", "--type", "g5.*", "--times", "-1")
    (fault,) = json.loads(gpurun("fault", "list", "--json"))
    assert fault["match"] == {"action": "CreateFleet", "params": {"InstanceType": "g5.*"}}
    assert fault["effect"] == {"error": "InsufficientInstanceCapacity"}
    gpurun("fault", "clear")
    assert "no fault" in gpurun("fault", "list")
    assert "give at least one of" in gpurun("fault", "add", status=1)

    assert "names 0 machines" in gpurun("kill", "i-nobody", status=2)
    assert "names 0 machines" in gpurun("console", "i-nobody", status=2)
    seen = json.loads(gpurun("status", "--json"))
    assert (seen["running"], seen["hosts"], seen["instances"]) == (True, "none", [])
    assert "nothing is left" in gpurun("stop")
    assert list((gpurun.home / "gpurun").iterdir()) == []
