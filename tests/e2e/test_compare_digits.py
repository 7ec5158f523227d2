"""A real training in three floating-point types, compared: figures, parity, page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[2] / "jobs" / "digits.yaml"


def _last(done) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_three_types_of_numbers_are_trained_in_and_compared(laptop):
    types = ("--devices", "cpu", "--floatx", "float32,float64,bfloat16")
    done = laptop.gpurun(
        "compare-cpu-gpu", str(DIGITS), "--sandbox", *types, "--sweep", "epochs=2", "--json", timeout_s=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = _last(done)
    names = [f"cpu-{floatx}.epochs=2" for floatx in ("float32", "float64", "bfloat16")]
    assert [(leg["leg"]["name"], leg["trials"][0]["state"]) for leg in found["legs"]] == [
        (name, "done") for name in names
    ]
    for leg in found["legs"]:
        (trial,) = leg["trials"]
        assert trial["epochs"] == 2
        assert trial["usage"]["user_s"] > 0.5
        assert trial["versions"]
        assert leg["usd_per_run"] == pytest.approx(leg["price_usd_per_hour"] / 3600 * trial["usage"]["elapsed_s"])
    parities = {each["leg"]: each for each in found["parities"]}
    assert set(parities) == {"cpu-float64.epochs=2", "cpu-bfloat16.epochs=2"}
    assert 0 < parities["cpu-float64.epochs=2"]["largest_weight_difference"] < 1e-3
    assert parities["cpu-bfloat16.epochs=2"]["largest_weight_difference"] > 1e-4
    assert not any(each["exceeded"] for each in parities.values())
    page = ET.parse(found["page"]).getroot()
    assert any(each.tag.endswith("svg") for each in page.iter())
    assert "cpu-bfloat16.epochs=2" in Path(found["page"]).read_text()
    assert laptop.living() == []
    again = _last(laptop.gpurun("compare-cpu-gpu", "--show", "last", "--json"))
    assert again == found
