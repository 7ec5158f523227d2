"""The specs that come with the project: each loads, and what it sends up is the jobs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.domain import Device
from launcher.spec import load
from launcher.sync.local.ignore import rules
from launcher.sync.local.tree import scan

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["digits", "deck_mlp", "logistic"])
def test_specs_send_up_the_jobs_and_nothing_else_of_the_project(name: str):
    spec = load(REPOSITORY / "jobs" / f"{name}.yaml")
    names = [item.name for item in scan(spec.workdir, ignore=rules(spec.workdir)).items]
    assert "jobs/__main__.py" in names
    assert {entry.split("/")[0] for entry in names} == {"jobs", "examples"}
    assert "python -m jobs train" in (spec.script or " ".join(spec.argv))


def test_the_first_command_needs_no_gpu_no_data_and_little_money():
    spec = load(REPOSITORY / "jobs" / "digits.yaml")
    assert (spec.device, spec.data, spec.limits.max_hours) == (Device.CPU, None, 1.0)
    assert spec.limits.max_cost_usd == 1.0


def test_the_example_loads():
    assert load(REPOSITORY / "examples" / "pi.yaml").argv == ("python3", "pi.py")
