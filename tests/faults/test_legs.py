"""A run with legs whose machine is taken in the middle of one: the launcher, the cloud and the machine together."""

from __future__ import annotations

import json
import sys

import pytest

from tests.faults.conftest import Laptop

LAUNCHER = """
import sys
from dataclasses import replace

from launcher.cli import main
from launcher.commands import launch
from launcher.domain import Device, FloatX, LegOrder

read_spec = launch.read_spec


def with_legs(*given):
    legs = [
        LegOrder(name="cpu-float32", device=Device.CPU, floatx=FloatX.FLOAT32),
        LegOrder(name="cpu-float64", device=Device.CPU, floatx=FloatX.FLOAT64, env={"PATIENT": "yes"}),
        LegOrder(name="gpu-float32", device=Device.GPU, floatx=FloatX.FLOAT32),
    ]
    return replace(read_spec(*given), legs=tuple(legs), repeats=1)


launch.read_spec = with_legs
sys.exit(main())
"""
JOB = """
echo "ran $GPURUN_LEG as $GPURUN_FLOATX"
echo half >> "$GPURUN_OUTPUT_DIR/half"
grep -q '"cpu-float64/1": 2' "$GPURUN_CHECKPOINT_DIR/../../state.json" && exit 0
while [ "$PATIENT" = yes ]; do sleep 0.05; done
"""


@pytest.fixture
def comparing(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """A laptop whose launches are told to compare: by code, as no file can."""
    monkeypatch.setattr(Laptop, "command", property(lambda _: [sys.executable, "-W", "default", "-c", LAUNCHER]))
    return laptop


def test_a_leg_that_is_cut_off_is_done_again_on_the_next_machine(comparing: Laptop, torment) -> None:
    (comparing.work / "job.yaml").write_text(f"name: legs\nrun: {json.dumps(JOB)}\ndevice: cpu\n")
    process = comparing.start("launch", "--sandbox", "job.yaml")

    def second_leg_runs() -> bool:
        logs = list(comparing.state.runs.glob("*/log"))
        return bool(logs) and b"ran cpu-float64" in logs[0].read_bytes()

    comparing.wait_for(second_leg_runs, timeout_s=60)
    torment.interrupt(comparing.runs()[0]["instance_id"], in_s=60)
    assert process.wait(120) == 1, comparing.stderr()  # there is no GPU
    (results,) = comparing.work.glob("runs/*")
    records = {
        name: json.loads((results / "legs" / name / "1/gpurun-trial.json").read_text())
        for name in ("cpu-float32", "cpu-float64", "gpu-float32")
    }
    assert [record["state"] for record in records.values()] == ["done", "done", "no device"]
    assert [record["again"] for record in records.values()] == [0, 1, 0]
    assert (results / "legs/cpu-float64/1/half").read_text() == "half\n"
    log = (results / "gpurun/log.txt").read_text()
    assert log.count("ran cpu-float32 as float32\n") == 1
    assert log.count("ran cpu-float64 as float64\n") == 2
    assert "leg 1 of 3, cpu-float32, repeat 1 of 1: finished before (done), kept\n" in log
    assert "leg 2 of 3, cpu-float64, repeat 1 of 1: begun anew, since it was cut off\n" in log
    assert json.loads((results / "gpurun/checkpoint/legs/state.json").read_text())["begun"]["cpu-float64/1"] == 2
    assert len(comparing.instances()) == 2
    assert comparing.living() == []
