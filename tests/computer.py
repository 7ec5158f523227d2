"""A person's computer, on which gpurun is run as a person runs it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.paths import StatePaths


@dataclass(kw_only=True)
class Computer:
    """A home, a state folder, a working folder, and gpurun on it; nothing of the person's who runs the tests."""

    home: Path
    started: list[subprocess.Popen] = field(default_factory=list)

    @property
    def state(self) -> StatePaths:
        return StatePaths(self.home / "state" / "gpurun")

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SSH_"))}
        return env | {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "PYTHONWARNINGS": "error"}

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-W", "default", "-m", "launcher.cli"]

    def gpurun(
        self, *arguments: str, timeout_s: float = 60, below: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, `below` another that executes it."""
        return subprocess.run(
            [*below, *self.command, *arguments],
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

    def kill_started(self) -> None:
        """End what `start` left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()

    def job(self, text: str, name: str = "job.sh") -> str:
        """Write a job script into the working folder."""
        (self.work / name).write_text(text)
        return name

    def stderr(self) -> str:
        path = self.home / "stderr"
        return path.read_text() if path.exists() else ""

    def stdout(self) -> str:
        return (self.home / "stdout").read_text()

    def runs(self) -> list[dict]:
        return json.loads(self.gpurun("status", "--json", "--all").stdout)

    def events(self) -> list[tuple[str, dict]]:
        """All events of all runs, in order, read beside the launcher."""
        if not self.state.ledger.exists():
            return []
        book = sqlite3.connect(f"file:{self.state.ledger}?mode=ro", uri=True, timeout=5)
        try:
            rows = book.execute("SELECT kind, data FROM events ORDER BY event_id")
            return [(kind, json.loads(data)) for kind, data in rows]
        except sqlite3.OperationalError:  # not made yet
            return []
        finally:
            book.close()

    def wait_for(self, seen: Callable[[], object], timeout_s: float = 30) -> None:
        """Wait for something that another process does."""
        limit = time.monotonic() + timeout_s
        while not seen():
            assert time.monotonic() < limit, self.stderr()
            time.sleep(0.01)

    def wait_for_event(self, kind: str, timeout_s: float = 30, **wanted: str) -> None:
        self.wait_for(lambda: any(k == kind and wanted.items() <= data.items() for k, data in self.events()), timeout_s)
