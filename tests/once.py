"""What takes long to make and is only looked at afterwards: made once for all workers of a test run."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Once:
    """Folders that the workers of one test run share."""

    shared: Path

    def __call__(self, name: str, make: Callable[[Path], Made]) -> Made:
        """What `make` gives for a folder of that name, which it fills: the first worker asks it, the others wait.

        A test may write nothing into the folder: other workers read it at the same time.
        """
        made = self.shared / f"{name}.made"
        with (self.shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                folder = self.shared / name
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                draft = made.with_suffix(".draft")
                draft.write_bytes(pickle.dumps(make(folder)))
                draft.replace(made)
        return pickle.loads(made.read_bytes())


def for_this_run(factory: pytest.TempPathFactory) -> Once:
    """Each worker of pytest-xdist has a folder of its own in one that is the run's."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    shared.mkdir(exist_ok=True)
    return Once(shared)
