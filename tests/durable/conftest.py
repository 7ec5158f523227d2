"""Machines that send to a bucket of a sandbox cloud, each a run's folder of this machine."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import launcher.agent
from launcher.agent.grant import path_of
from launcher.agent.job import started_ticks
from launcher.agent.ship import Shipper
from launcher.aws import durable
from launcher.aws.client import Aws
from launcher.aws.durable import place
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox

RUN = "digits-7f3a"


@pytest.fixture(scope="session")
def aws(sandbox_none: Sandbox) -> Aws:
    return Aws(sandbox_none.account)


@pytest.fixture
def cloud(sandbox_none: Sandbox) -> Iterator[SandboxClient]:
    """The sandbox's own API; its faults go with the test."""
    client = SandboxClient(sandbox_none.endpoint_url)
    yield client
    client.clear_faults()


@pytest.fixture
def uri(aws: Aws) -> str:
    """A prefix of a fresh bucket."""
    bucket = f"outputs-{secrets.token_hex(6)}"
    aws.s3.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team/digits"


@dataclass
class Machine:
    """A run's folder, and what ships it."""

    run: Path
    aws: Aws
    uri: str
    segment: int = 1
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    shipper: Shipper | None = None

    def __post_init__(self) -> None:
        for name in ("checkpoint", "output"):
            (self.run / name).mkdir(parents=True)
        (self.run / "log").touch()
        self.permit()
        self.state("running")

    @property
    def checkpoint(self) -> Path:
        return self.run / "checkpoint"

    @property
    def output(self) -> Path:
        return self.run / "output"

    @property
    def log(self) -> Path:
        return self.run / "log"

    def permit(self, lifetime: timedelta = timedelta(hours=1)) -> durable.Grant:
        """Have a grant there, as the launcher's would be."""
        there = place.find(self.aws, self.uri)
        deadline = datetime.now(UTC) + lifetime - timedelta(minutes=15)
        grant = durable.mint(self.aws, there, self.run.name, segment=self.segment, deadline=deadline)
        draft = self.run / "grant.new"
        draft.write_text(json.dumps(grant.form))
        draft.replace(path_of(str(self.run)))
        return grant

    def state(self, word: str, **more: object) -> None:
        """Say how the job is; its process is this one, so that one that runs is not taken for lost."""
        about = {"state": word, "job": os.getpid(), "job_started": started_ticks(os.getpid()), **more}
        draft = self.run / "state.new"
        draft.write_text(json.dumps(about))
        draft.replace(self.run / "state")

    def save(self, name: str, content: bytes) -> None:
        """A checkpoint as a careful job writes it."""
        draft = self.run / "draft"
        draft.write_bytes(content)
        draft.replace(self.checkpoint / name)

    def ship(self, *, over: bool = False, **state: object) -> None:
        """One generation, in this process."""
        self.shipper = self.shipper or Shipper(str(self.run))
        self.shipper.ship({"state": "done" if over else "running", "exit_status": 0 if over else None, **state}, over)

    def restarted(self) -> None:
        """What a killed shipper leaves: its files."""
        self.shipper = None

    def start(self, **constants: object) -> subprocess.Popen[bytes]:
        """A shipper in a process of its own, with other constants: `objects.HELD_S=0`."""
        package = Path(launcher.agent.__file__).parents[1]
        settings = "".join(f"agent.{name.replace('__', '.')} = {value!r};" for name, value in constants.items())
        code = (
            f"import sys; sys.path.insert(0, {str(package)!r}); import agent.ship, agent.objects;"
            f"{settings} agent.ship.ship({str(self.run)!r})"
        )
        process = subprocess.Popen([sys.executable, "-IS", "-c", code], stdin=subprocess.PIPE)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def machine(tmp_path: Path, aws: Aws, uri: str) -> Iterator[Machine]:
    it = Machine(run=tmp_path / "machine" / RUN, aws=aws, uri=uri)
    yield it
    it.close()


@pytest.fixture
def successor(tmp_path: Path, aws: Aws, uri: str) -> Iterator[Machine]:
    """The run's next machine."""
    it = Machine(run=tmp_path / "successor" / RUN, aws=aws, uri=uri, segment=2)
    yield it
    it.close()


@dataclass
class Home:
    """Three places for what comes home."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def log(self) -> Path:
        return self.folder / "log"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def pull(aws: Aws, uri: str, home: Home) -> Callable[[], durable.Generation | None]:
    """Bring the newest generation home."""

    def bring() -> durable.Generation | None:
        return durable.pull_newest(aws, uri, RUN, checkpoint=home.checkpoint, output=home.output, log=home.log)

    return bring
