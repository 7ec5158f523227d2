"""gpurun as a person runs it, against a sandbox cloud of the test session's own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launcher.aws.client import Aws
from launcher.paths import StatePaths
from launcher.sandbox import control
from launcher.sandbox.control import Sandbox


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox cloud with real hosts, for all end-to-end tests of this worker."""
    state = StatePaths(tmp_path_factory.mktemp("cloud") / "gpurun").sandbox
    yield control.start(state)
    control.stop(state)


@dataclass
class Laptop:
    """A user's laptop: a home, a state folder, a working folder, and gpurun on it."""

    home: Path
    cloud: Sandbox
    started: list[subprocess.Popen] = field(default_factory=list)

    @property
    def state(self) -> StatePaths:
        return StatePaths(self.home / "state" / "gpurun")

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return env | {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "PYTHONWARNINGS": "error"}

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-W", "default", "-m", "launcher.cli"]

    def gpurun(self, *arguments: str, timeout_s: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.work,
            env=self.environment | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str, command: Sequence[str] = (), **env: str) -> subprocess.Popen:
        """Start a command, with `command` for gpurun, and leave it running."""
        with (self.home / "stdout").open("ab") as out, (self.home / "stderr").open("ab") as err:
            process = subprocess.Popen(
                [*(command or self.command), *arguments],
                cwd=self.work,
                env=self.environment | env,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def job(self, text: str, name: str = "job.sh") -> str:
        """Write a job script into the working folder."""
        (self.work / name).write_text(text)
        return name

    def stderr(self) -> str:
        path = self.home / "stderr"
        return path.read_text() if path.exists() else ""

    def runs(self) -> list[dict]:
        return json.loads(self.gpurun("status", "--json", "--all").stdout)

    def events(self) -> list[tuple[str, dict]]:
        """All events of all runs, read beside the launcher."""
        if not self.state.ledger.exists():
            return []
        book = sqlite3.connect(f"file:{self.state.ledger}?mode=ro", uri=True, timeout=5)
        try:
            return [
                (kind, json.loads(data)) for kind, data in book.execute("SELECT kind, data FROM events ORDER BY 1=1")
            ]
        except sqlite3.OperationalError:  # not made yet
            return []
        finally:
            book.close()

    def wait_for(self, seen: Callable[[], bool], timeout_s: float = 30) -> None:
        """Wait for something that another process does."""
        limit = time.monotonic() + timeout_s
        while not seen():
            assert time.monotonic() < limit, self.stderr()
            time.sleep(0.01)

    def wait_for_event(self, kind: str, timeout_s: float = 30, **wanted: str) -> None:
        self.wait_for(lambda: any(k == kind and wanted.items() <= data.items() for k, data in self.events()), timeout_s)

    def instances(self, *states: str) -> list[dict]:
        """What EC2 says of this laptop's machines, asked by plain boto3."""
        mine = {run["run_id"] for run in self.runs()} if self.state.ledger.exists() else set()
        found = [
            instance
            for page in Aws(self.cloud.account).ec2.get_paginator("describe_instances").paginate()
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]
        return [
            instance
            for instance in found
            if (not states or instance["State"]["Name"] in states)
            # EC2 leaves the member out where there are none: other tests' machines of this cloud have none.
            and {tag["Value"] for tag in instance.get("Tags", ()) if tag["Key"] == "gpurun:run"} & mine
        ]

    def living(self) -> list[dict]:
        return self.instances("pending", "running", "shutting-down", "stopping", "stopped")


@pytest.fixture
def laptop(tmp_path: Path, cloud: Sandbox) -> Iterator[Laptop]:
    """A fresh laptop that shares the session's cloud; whatever it started is ended with it."""
    it = Laptop(home=tmp_path, cloud=cloud)
    it.work.mkdir()
    it.state.home.mkdir(parents=True, mode=0o700)
    it.state.sandbox.symlink_to(cloud.state)
    yield it
    for process in it.started:
        if process.poll() is None:
            process.kill()
        process.wait()
    ids = [instance["InstanceId"] for instance in it.living()]
    if ids:
        Aws(cloud.account).ec2.terminate_instances(InstanceIds=ids)
