"""The steps of a bake, as it writes them down: at each of them it is killed and stopped."""

import os
import sys
from pathlib import Path
from subprocess import Popen

import psutil

from tests.e2e.conftest import Laptop

STEPS = (
    "phase plan",
    "phase provision",
    "status provisioning",
    "network.intent",
    "fleet.intent",
    "instance",
    "armed",
    "phase boot",
    "status booting",
    "door",
    "phase connect",
    "connected",
    "status syncing",
    "status running",
    "phase run",
    "smoke",
    "phase fetch",
    "status fetching",
    "image.intent",
    "image",
    "ending",
    "status terminating",
    "phase terminate",
    "published",
    "ending",
    "phase terminate",
    "phase end",
    "api.calls",
    "status succeeded",
)
NAMED = STEPS.index("published")
"""From here on the image is somebody's."""


def told(kind: str, data: dict) -> str:
    """A step in words."""
    detail = {"phase": "name", "status": "to"}.get(kind)
    return f"{kind} {data[detail]}" if detail else kind


def names() -> list[str]:
    """Of the tests: a step's number and itself."""
    return [f"{number:02} {step}" for number, step in enumerate(STEPS)]


def start_until(laptop: Laptop, number: int, *options: str) -> Popen:
    """Bake, holding still at a step; returns once it does."""
    halting = [sys.executable, "-W", "default", str(Path(__file__).with_name("halting.py"))]
    with (laptop.home / "stdout").open("ab") as out, (laptop.home / "stderr").open("ab") as err:
        bake = Popen(
            [*halting, str(number + 1), "ami", "bake", "--sandbox", "--no-verify", *options],
            cwd=laptop.work,
            env=laptop.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    laptop.started.append(bake)
    process = psutil.Process(bake.pid)
    laptop.wait_for(lambda: process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}, 90)
    assert process.status() == psutil.STATUS_STOPPED, laptop.stderr()
    return bake
