"""Whole runs on a sandbox cloud, tormented."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from launcher.sandbox.client import SandboxClient
from tests.e2e.conftest import Laptop, laptop

__all__ = ["Laptop", "laptop"]


@pytest.fixture
def torment(cloud):
    """The switches of the session's cloud, all back to rest afterwards."""
    client = SandboxClient(cloud.endpoint_url)
    yield client
    client.clear_faults()
    client.settings(boot_delay_s=0.0)


def counting_job(laptop: Laptop, steps: int, step_s: float, every: int, starts: int = 1) -> str:
    """A spec of the counting job in the laptop's working folder; gives its file's name."""
    shutil.copy(Path(__file__).parent / "counting.py", laptop.work / "counting.py")
    words = ["python3", "counting.py", str(steps), str(step_s), str(every), str(starts)]
    (laptop.work / "count.yaml").write_text(f"name: count\nrun: {words}\ndevice: cpu\n")
    return "count.yaml"


def chain(steps: int) -> str:
    """What the counting job's result must be."""
    value = ""
    for step in range(1, steps + 1):
        value = hashlib.sha256(f"{value} {step}".encode()).hexdigest()
    return value
