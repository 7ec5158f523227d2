"""Legs on this very machine: started as a launcher starts them, and what they left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.domain import Device, FloatX, LegOrder
from launcher.sync import remote_agent, stream

RECORD = "gpurun-trial.json"


def leg(name: str, script: str = "", device: str = "cpu", floatx: str = "float32", **more: Any) -> LegOrder:
    return LegOrder(name=name, script=script, device=Device(device), floatx=FloatX(floatx), **more)


def run(connection: Any, layout: Any, job: Any) -> tuple[Any, str]:
    """A job to its end: its report and its log."""
    remote_agent.start(connection, layout, job)
    follower = stream.follow(lambda: connection, layout)
    log = b"".join(follower)
    return follower.report, log.decode()


def output_of(connection: Any, layout: Any, name: str, repeat: int = 1) -> Path:
    return Path(connection.home / layout.output / "legs" / name / str(repeat))


def record(connection: Any, layout: Any, name: str, repeat: int = 1) -> Any:
    return json.loads((output_of(connection, layout, name, repeat) / RECORD).read_text())


def progress(connection: Any, layout: Any) -> Any:
    return json.loads((connection.home / layout.checkpoint / "legs/state.json").read_text())
