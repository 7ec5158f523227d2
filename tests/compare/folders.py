"""Results folders as a run brings them home, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.comparison import Leg
from launcher.domain import Device, FloatX

BEGAN_S = 1_795_289_180.0
USAGE = {
    "user_s": 9.1,
    "system_s": 0.7,
    "elapsed_s": 20.0,
    "max_rss_kib": 700_000,
    "major_faults": 3,
    "minor_faults": 200_000,
    "inputs": 8,
    "outputs": 800,
}
CPU = Leg(name="cpu-float32", device=Device.CPU, floatx=FloatX.FLOAT32, place="local")
GPU = Leg(name="gpu-float32", device=Device.GPU, floatx=FloatX.FLOAT32, place="local")


def record(leg: Leg = CPU, repeat: int = 1, **other: Any) -> dict[str, Any]:
    """What the agent writes of a trial."""
    return {
        "leg": leg.name,
        "repeat": repeat,
        "state": "done",
        "reason": "",
        "exit_status": 0,
        "began_at": BEGAN_S,
        "usage": USAGE,
        "gpu": None,
        "machine": {
            "processor": "EPYC",
            "vcpus": 2,
            "memory_bytes": 8 << 30,
            "system": "Linux",
            "gpu": "",
            "driver": "",
        },
        "again": 0,
    } | other


def place(results: Path, leg: Leg = CPU, repeat: int = 1) -> Path:
    """A trial's folder."""
    folder = results / "legs" / leg.name / str(repeat)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put(results: Path, leg: Leg = CPU, repeat: int = 1, **other: Any) -> Path:
    """A trial's folder with its record."""
    folder = place(results, leg, repeat)
    (folder / "gpurun-trial.json").write_text(json.dumps(record(leg, repeat, **other)))
    return folder


def line(step: int, at_s: float, epoch: float = 0, name: str = "cost", value: Any = 1.0) -> str:
    """A line of metrics.jsonl, so many seconds after the trial began."""
    return json.dumps({"step": step, "epoch": epoch, "name": name, "value": value, "time": BEGAN_S + at_s}) + "\n"
