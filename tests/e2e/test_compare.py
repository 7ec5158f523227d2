"""gpurun compare-cpu-gpu as a person runs it: legs that end well and ill, a Ctrl-C, a launcher that dies."""

from __future__ import annotations

import json
import os
import signal
import sys

import pexpect
import pytest

from launcher.compare import stored
from launcher.ledger import Ledger
from launcher.sandbox.client import SandboxClient

TELLING = """\
import json, os, sys
floatx = os.environ["GPURUN_FLOATX"]
if floatx == os.environ.get("BAD"):
    print("no such type", file=sys.stderr)
    raise SystemExit(3)
units = int(os.environ.get("GPURUN_SETTING_UNITS", "1"))
with open(os.environ["GPURUN_OUTPUT_DIR"] + "/result.json", "w") as file:
    json.dump({"cost": 1 / units, "error": 0.25, "seconds": 0.5, "device": "cpu"}, file)
"""
WAITING = """\
trap 'echo saved > "$GPURUN_OUTPUT_DIR/saved.txt"; exit 143' TERM
touch "$GPURUN_OUTPUT_DIR/begun"
while [ ! -e "$GATE" ]; do sleep 0.05; done
"""


def _events(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def _comparison(done) -> dict:
    (found,) = [event for event in _events(done) if event["event"] == "comparison"]
    return found


def _states(found: dict) -> dict[str, str]:
    return {leg["leg"]["name"]: leg["trials"][0]["state"] for leg in found["legs"]}


def _compare(laptop, *arguments: str, **options):
    return laptop.gpurun("compare-cpu-gpu", *arguments, "--json", **options)


@pytest.fixture
def script(laptop) -> str:
    return laptop.job(TELLING, "train.py")


def test_a_leg_that_fails_and_one_without_a_device_leave_the_others_alone(laptop, script):
    done = _compare(
        laptop, script, "--sandbox", "--floatx", "float32,float64", "--env", "BAD=float64", "--html", "page.html"
    )
    assert done.returncode == 1
    found = _comparison(done)
    assert _states(found) == {
        "cpu-float32": "done",
        "gpu-float32": "no device",
        "cpu-float64": "failed",
        "gpu-float64": "no device",
    }
    failed = next(leg for leg in found["legs"] if leg["leg"]["name"] == "cpu-float64")
    assert (failed["trials"][0]["exit_status"], failed["elapsed_s"]) == (3, None)
    assert failed["trials"][0]["reason"] == "exit status 3; its last line: no such type"
    assert found["ratios"] == []
    assert "No GPU answered" in found["verdict"]
    assert found["page"] == str(laptop.work / "page.html")
    assert "no device" in (laptop.work / "page.html").read_text()
    shown = laptop.gpurun("compare-cpu-gpu", "--show", found["comparison_id"][:20])
    assert shown.returncode == 1
    assert "no device" in shown.stdout
    assert f"see: gpurun logs {failed['run_id']}" in shown.stdout


def test_a_machine_for_each_device_side_by_side(laptop, script):
    done = _compare(laptop, script, "--sandbox", "--on", "best", "--max-cost", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    found = _comparison(done)
    assert _states(found) == {"cpu-float32": "done", "gpu-float32": "no device"}
    cpu, gpu = found["legs"]
    assert cpu["run_id"] != gpu["run_id"]
    assert cpu["machine"].partition(".")[0] not in {"t3", "t3a", "g4dn"}
    assert gpu["machine"].startswith(("g", "p"))
    plans = [event for event in _events(done) if event["event"] == "plan"]
    assert [plan["place"] for plan in plans] == ["cpu", "gpu"]
    assert all(plan["max_cost_usd"] <= 1.5 for plan in plans)
    assert len(found["receipts"]) == 2
    assert laptop.living() == []


def test_a_machine_that_cannot_be_had_leaves_the_other_run_alone(laptop, cloud, script):
    client = SandboxClient(cloud.endpoint_url)
    match = {"action": "CreateFleet|RunInstances", "params": {"InstanceType": r"[gp]\d.*"}}
    with client.faulty({"match": match, "effect": {"error": "InsufficientInstanceCapacity"}, "times": -1}):
        done = _compare(laptop, script, "--sandbox", "--on", "best")
    assert done.returncode == 1
    found = _comparison(done)
    assert _states(found) == {"cpu-float32": "done", "gpu-float32": "missing"}
    assert "capacity" in found["legs"][1]["trials"][0]["reason"]
    assert "capacity" in next(event["message"] for event in _events(done) if event["event"] == "error")
    assert laptop.living() == []


def test_sigterm_stops_the_jobs_too(laptop):
    process = laptop.start(*_gated(laptop))
    laptop.wait_for(lambda: _begun(laptop))
    process.terminate()
    assert process.wait(30) == 130
    assert [run["status"] for run in laptop.runs()] == ["cancelled"]


def test_a_sweep_on_this_machine_is_heard_by_the_script(laptop, script):
    done = _compare(laptop, script, "--on", "local", "--devices", "cpu", "--sweep", "units=1..4")
    assert done.returncode == 0, done.stdout + done.stderr
    found = _comparison(done)
    assert [leg["final_cost"] for leg in found["legs"]] == [1.0, 0.5, 0.25]
    assert {leg["price_usd_per_hour"] for leg in found["legs"]} == {0}
    listed = json.loads(laptop.gpurun("compare-cpu-gpu", "--list", "--json").stdout)
    assert [each["comparison_id"] for each in listed] == [found["comparison_id"]]


def test_a_dry_run_launches_nothing(laptop, script):
    done = laptop.gpurun("compare-cpu-gpu", script, "--sandbox", "--dry-run", "--on", "best", "--repeat", "3")
    assert done.returncode == 0
    assert "2 legs, 3 times each, in turn, in 2 runs" in done.stderr
    assert "together at most" in done.stderr
    assert laptop.runs() == []


def _begun(laptop) -> bool:
    return any(laptop.events()) and any(kind == "job.started" for kind, _ in laptop.events())


def _gated(laptop) -> list[str]:
    """A comparison whose legs wait for a gate."""
    job = laptop.job(WAITING)
    gate = ("--env", f"GATE={laptop.work / 'gate'}")
    return ["compare-cpu-gpu", job, "--on", "local", "--devices", "cpu", "--floatx", "float32,float64", *gate]


def _on_a_terminal(laptop, arguments: list[str]) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        ["-m", "launcher.cli", *arguments],
        cwd=str(laptop.work),
        env=laptop.environment | {"TERM": "xterm-256color", "NO_COLOR": "1"},
        encoding="utf-8",
        timeout=40,
        dimensions=(40, 200),
    )


def test_ctrl_c_stops_every_job_and_brings_home_what_it_saved(laptop):
    process = _on_a_terminal(laptop, _gated(laptop))
    process.expect("leg 1 of 2, cpu-float32")
    process.sendintr()
    process.expect(r"\[s\]top all jobs")
    process.sendline("s")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 130
    (saved,) = laptop.work.glob("runs/*/legs/cpu-float32/1/saved.txt")
    assert saved.read_text() == "saved\n"
    assert [run["status"] for run in laptop.runs()] == ["cancelled"]
    assert set(_states(_comparison(_compare(laptop, "--show", "last"))).values()) <= {"failed", "missing"}


def test_who_detaches_finds_it_all_later(laptop):
    process = _on_a_terminal(laptop, _gated(laptop))
    process.expect("leg 1 of 2, cpu-float32")
    process.sendintr()
    process.expect(r"\[d\]etach")
    process.sendline("d")
    process.expect("--show")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0
    shown = laptop.gpurun("compare-cpu-gpu", "--show", "last")
    assert "is not over (running)" in shown.stderr
    (laptop.work / "gate").touch()
    laptop.wait_for(lambda: [run["status"] for run in laptop.runs()] == ["succeeded"])
    assert set(_states(_comparison(_compare(laptop, "--show", "last"))).values()) == {"done"}


def test_a_launcher_that_is_killed_takes_nothing_along(laptop):
    process = laptop.start(*_gated(laptop))
    laptop.wait_for(lambda: _begun(laptop))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (laptop.work / "gate").touch()
    laptop.wait_for(lambda: [run["status"] for run in laptop.runs()] == ["succeeded"])
    done = _compare(laptop, "--show", "last")
    assert done.returncode == 0
    assert set(_states(_comparison(done)).values()) == {"done"}


def test_one_comparison_against_another(laptop, script):
    arguments = (script, "--on", "local", "--devices", "cpu", "--floatx", "float32,float64")
    first = _comparison(_compare(laptop, *arguments))
    both = laptop.gpurun("compare-cpu-gpu", script, "--show", "last")
    assert (both.returncode, "would not run" in both.stderr, both.stdout) == (2, True, "")
    itself = laptop.gpurun("compare-cpu-gpu", "--against", "last")
    assert (itself.returncode, "to itself" in itself.stderr) == (2, True)
    worse = laptop.job(TELLING.replace("0.25", "0.5"), "train.py")
    done = _compare(laptop, worse, *arguments[1:], "--against", first["comparison_id"])
    (told,) = [event for event in _events(done) if event["event"] == "against"]
    assert done.returncode == 1
    assert told["regressions"] > 0
    assert any(change["what"] == "error" and change["worse"] for change in told["changes"])
    assert _comparison(done)["legs"][0]["final_error"] == 0.5
    back = laptop.gpurun("compare-cpu-gpu", "--show", first["comparison_id"], "--against", "last")
    assert any(line.startswith("better") and "error" in line for line in back.stdout.splitlines())


def test_hours_that_the_last_comparison_did_not_come_out_with_are_told(laptop, script):
    arguments = (script, "--on", "local", "--devices", "cpu", "--floatx", "float32,float64")
    (found,) = [_comparison(_compare(laptop, *arguments))]
    with Ledger.open(laptop.state.ledger) as book:
        slow = [leg | {"elapsed_s": leg["elapsed_s"] | {"median": 3000.0}} for leg in found["legs"]]
        made = stored.from_json(found | {"legs": slow})
        book.comparisons.tell(found["comparison_id"], stored.dumps(made))
    done = laptop.gpurun("compare-cpu-gpu", *arguments, "--dry-run", "--repeat", "2", "--max-hours", "3")
    assert "warning: by the last comparisons all legs, 2 times each take 3.3 h on local" in done.stderr
    enough = laptop.gpurun("compare-cpu-gpu", *arguments, "--dry-run", "--repeat", "2", "--max-hours", "4")
    assert "by the last" not in enough.stderr


def test_a_page_that_cannot_be_written_takes_no_figures_along(laptop, script):
    _compare(laptop, script, "--on", "local", "--devices", "cpu", "--floatx", "float32,float64")
    (laptop.work / "runs").rename(laptop.work / "moved")
    shown = laptop.gpurun("compare-cpu-gpu", "--show", "last", "--html", "nowhere/page.html")
    assert shown.returncode == 2
    assert "cpu-float64" in shown.stdout
    assert "--html FILE" in shown.stderr
