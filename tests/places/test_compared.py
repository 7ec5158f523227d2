"""A comparison over machines of one's own: a workstation whose owner is asked for its key once."""

from __future__ import annotations

import json

from launcher.sync.ssh.keys import fingerprint

JOB = 'echo "$GPURUN_DEVICE" > "$GPURUN_OUTPUT_DIR/device"\n'


def _last(done) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


def test_on_a_workstation_its_legs_take_turns(desk, box):
    accept = ("--accept-host-key", fingerprint(box.sshd.host_key))
    done = desk.gpurun("compare-cpu-gpu", desk.job(JOB), "--on", box.on, *accept, "--json")
    found = _last(done)
    assert done.returncode == 0, done.stdout + done.stderr
    cpu, gpu = found["legs"]
    assert {leg["leg"]["place"] for leg in (cpu, gpu)} == {box.on}
    assert [leg["trials"][0]["state"] for leg in (cpu, gpu)] == ["done", "no device"]
    assert {leg["price_usd_per_hour"] for leg in (cpu, gpu)} == {0}
    (told,) = desk.results().glob("legs/cpu-float32/1/device")
    assert told.read_text() == "cpu\n"
    assert (desk.here(), box.left(), box.off.exists()) == ([], [], False)


def test_gpu_legs_alone_where_no_gpu_is_begin_nothing(desk, box):
    box.known(desk)
    done = desk.gpurun("compare-cpu-gpu", desk.job(JOB), "--on", f"local+{box.on}", "--json")
    assert done.returncode == 2
    assert "nvidia-smi shows no GPU on" in _last(done)["message"]
    assert desk.runs() == []


def test_a_stranger_s_key_begins_nothing(desk, box):
    done = desk.gpurun("compare-cpu-gpu", desk.job(JOB), "--on", f"local+{box.on}", "--json")
    assert done.returncode == 5
    assert "--accept-host-key" in _last(done)["hint"] + _last(done)["message"]
    assert desk.runs() == []
