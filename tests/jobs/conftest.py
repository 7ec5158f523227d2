"""Jobs as they run: in a process of their own, with nothing of gpurun's environment but what a test sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass(slots=True)
class Jobs:
    """`python -m jobs` in a folder of the test's own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str | Path, program: tuple[str, ...] = ("-m", "jobs"), **variables: str):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPURUN_", "KERAS_"))}
        return subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": str(REPOSITORY), **self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **options) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


@pytest.fixture(scope="module")
def jobs_in() -> Callable[[Path], Jobs]:
    return Jobs
