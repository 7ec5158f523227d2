"""A comparison over machines of one's own: the CPU's legs here, the GPU's on a workstation, side by side."""

from __future__ import annotations

import json

from launcher.sync.ssh.keys import fingerprint

JOB = 'echo "$GPURUN_DEVICE" > "$GPURUN_OUTPUT_DIR/device"\n'


def _last(done) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


def test_each_device_on_a_machine_of_one_s_own(desk, box):
    accept = ("--accept-host-key", fingerprint(box.sshd.host_key))
    done = desk.gpurun("compare-cpu-gpu", desk.job(JOB), "--on", f"local+{box.on}", *accept, "--json")
    found = _last(done)
    assert done.returncode == 0, done.stdout + done.stderr
    cpu, gpu = found["legs"]
    assert (cpu["leg"]["place"], gpu["leg"]["place"]) == ("local", box.on)
    assert cpu["leg"]["name"] == "cpu-float32@local"
    assert [leg["trials"][0]["state"] for leg in (cpu, gpu)] == ["done", "no device"]
    assert {leg["price_usd_per_hour"] for leg in (cpu, gpu)} == {0}
    assert {run["status"] for run in desk.runs()} == {"succeeded", "failed"}
    assert (desk.here(), box.left(), box.off.exists()) == ([], [], False)


def test_a_stranger_s_key_begins_nothing(desk, box):
    done = desk.gpurun("compare-cpu-gpu", desk.job(JOB), "--on", f"local+{box.on}", "--json")
    assert done.returncode == 5
    assert "--accept-host-key" in _last(done)["hint"] + _last(done)["message"]
    assert desk.runs() == []
