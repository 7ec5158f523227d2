"""Where a leg ran: by what nvidia-smi says of the GPU, and by what the job itself does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.agent import gpu
from tests.sync.transfer.legs import leg, output_of, record, run

NVIDIA_SMI = """#!/bin/sh
case "$*" in
    "--query-gpu=name,driver_version,utilization.gpu,memory.used --format=csv,noheader,nounits") cat "$0.gpus" ;;
    "--query-compute-apps=pid,used_memory --format=csv,noheader,nounits") cat "$0.apps"; echo asked >> "$0.asked" ;;
    *) exit 2 ;;
esac
"""
IDLE = "NVIDIA L4, 550.54.15, 0, 2\n"
no_gpu = pytest.mark.skipif(gpu.has_device(), reason="this machine has a GPU")


class Smi:
    """An nvidia-smi that says what is written beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.program = folder / "nvidia-smi"
        self.says(gpus=IDLE, apps="")
        self.does(NVIDIA_SMI)

    def does(self, text: str) -> None:
        self.program.write_text(text)
        self.program.chmod(0o755)

    def says(self, **answers: str) -> None:
        for name, text in answers.items():
            self.program.with_name(f"nvidia-smi.{name}").write_text(text)

    def shell(self, name: str) -> str:
        """Its file, as a script names it."""
        return f"'{self.program}.{name}'"

    def looks(self, count: int) -> str:
        """In a script: wait until it has been asked so often since the leg began."""
        asked = self.shell("asked")
        return f"n=$(($(wc -l < {asked}) + {count})); while [ $(wc -l < {asked}) -lt $n ]; do sleep 0.02; done"


@pytest.fixture
def smi(connection: Any, tmp_path: Path) -> Smi:
    found = Smi(tmp_path / "programs")
    connection.environment["PATH"] = f"{found.program.parent}:{connection.environment['PATH']}"
    return found


def told(device: str, backend: str = "") -> str:
    settings = f', "settings": {{"backend": "{backend}"}}' if backend else ""
    return f"""echo '{{"device": "{device}"{settings}}}' > "$GPURUN_OUTPUT_DIR/result.json" """


@no_gpu
@pytest.mark.parametrize("harm", ["exit 9", "echo NVIDIA-SMI has failed", "printf '\\377\\n,,,,,\\n'", "kill -9 $$"])
def test_a_gpu_leg_without_a_gpu_is_not_executed(connection: Any, layout: Any, job: Any, smi: Smi, harm: str) -> None:
    smi.does(f"#!/bin/sh\n{harm}\n")
    legs = [leg("gpu", 'touch "$GPURUN_OUTPUT_DIR/ran"', "gpu"), leg("cpu", "true")]
    report, log = run(connection, layout, job(legs=legs))
    assert report.exit_status == 1
    found = record(connection, layout, "gpu")
    assert (found["state"], found["usage"], found["exit_status"], found["gpu"]) == ("no device", None, None, None)
    assert found["reason"] == "the machine has no GPU: it was not executed"
    assert not (output_of(connection, layout, "gpu") / "ran").exists()
    assert record(connection, layout, "cpu")["state"] == "done"
    assert "gpurun: leg 1 of 2, gpu, repeat 1 of 1: no device: the machine has no GPU: it was not executed\n" in log


def test_where_each_leg_ran_is_found_out(connection: Any, layout: Any, job: Any, smi: Smi) -> None:
    here = f'echo "$$, 300" > {smi.shell("apps")}'
    busy = f"echo 'NVIDIA L4, 550.54.15, 80, 400' > {smi.shell('gpus')}"
    free = f"printf '{IDLE}' > {smi.shell('gpus')}; : > {smi.shell('apps')}"
    other = f"echo '{os.getpid()}, 300' > {smi.shell('apps')}"
    legs = [
        leg("gpu-seen", f"{here}; {busy}; {smi.looks(3)}; {free}", "gpu"),
        leg("gpu-hidden", f"{busy}; {smi.looks(2)}; {free}", "gpu"),
        leg("gpu-unseen", smi.looks(4), "gpu", env={"GPURUN_BACKEND": "torch"}),
        leg("gpu-others", f"{other}; {busy}; {smi.looks(4)}; {free}", "gpu"),
        leg("gpu-short", "true", "gpu"),
        leg("gpu-told-cpu", told("cpu", "tensorflow"), "gpu"),
        leg("cpu-seen", f"{here}; {smi.looks(1)}; sleep 0.2; {free}", "cpu"),
        leg("cpu-told-gpu", told("cuda:0"), "cpu"),
        leg("cpu", told("cpu"), "cpu"),
        leg("gpu-failed", f"{smi.looks(4)}; exit 3", "gpu"),
    ]
    report, _ = run(connection, layout, job(legs=legs))
    assert report.exit_status == 1
    found = {each.name: record(connection, layout, each.name) for each in legs}
    assert {name: (each["state"], each["reason"]) for name, each in found.items()} == {
        "gpu-seen": ("done", ""),
        "gpu-hidden": ("done", ""),
        "gpu-unseen": (
            "wrong device",
            f"no process of the job was seen on the GPU in {found['gpu-unseen']['gpu']['samples']} looks at it: "
            "PyTorch found no GPU (is its CUDA build installed?)",
        ),
        "gpu-others": (
            "wrong device",
            f"no process of the job was seen on the GPU in {found['gpu-others']['gpu']['samples']} looks at it: "
            "its library found no GPU, or it does not heed GPURUN_DEVICE",
        ),
        "gpu-short": ("done", ""),
        "gpu-told-cpu": (
            "wrong device",
            "the job ran on the cpu: TensorFlow found no GPU (is its CUDA build installed?)",
        ),
        "cpu-seen": (
            "wrong device",
            "the job ran on the gpu: it heeds neither GPURUN_DEVICE nor CUDA_VISIBLE_DEVICES",
        ),
        "cpu-told-gpu": (
            "wrong device",
            "the job ran on the gpu: it heeds neither GPURUN_DEVICE nor CUDA_VISIBLE_DEVICES",
        ),
        "cpu": ("done", ""),
        "gpu-failed": ("failed", "exit status 3; no process of it was seen on the GPU"),
    }
    use = found["gpu-seen"]["gpu"]
    assert use["samples"] >= 2
    assert 0 < use["mean_percent"] <= 80
    assert {**use, "samples": 0, "mean_percent": 0} == {
        "name": "NVIDIA L4", "driver": "550.54.15", "samples": 0, "mean_percent": 0,
        "max_memory_bytes": 400 << 20, "by_job": True,
    }  # fmt: skip
    assert (found["cpu"]["machine"]["gpu"], found["cpu"]["machine"]["driver"]) == ("NVIDIA L4", "550.54.15")
    assert [found[name]["gpu"]["by_job"] for name in ("gpu-hidden", "gpu-unseen", "gpu-others")] == [True, False, False]


def test_an_nvidia_smi_that_goes_wrong_later_costs_figures_alone(
    connection: Any, layout: Any, job: Any, smi: Smi
) -> None:
    legs = [leg("gpu", f"echo '[N/A]' > {smi.shell('gpus')}; sleep 1.5", "gpu"), leg("cpu", "true")]
    report, _ = run(connection, layout, job(legs=legs))
    assert report.exit_status == 0
    assert record(connection, layout, "gpu")["gpu"] is None


# nvidia-smi alone.


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    found = Smi(tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{found.program.parent}:{os.environ['PATH']}")
    return found


def test_several_gpus_are_told_together(on_path: Smi) -> None:
    on_path.says(gpus="NVIDIA A10G, 550.1, 90, 1000\nNVIDIA T4, 550.1, 10, 24\n", apps="12, 5\n13, [N/A]\n12, 7\n")
    assert gpu.look(10) == gpu.Look("NVIDIA A10G, NVIDIA T4", "550.1", 50.0, 1 << 30, frozenset({12, 13}))


def test_what_is_not_told_is_not_made_up(on_path: Smi) -> None:
    on_path.says(gpus="NVIDIA H100, 550.1, [N/A], [Insufficient Permissions]\n", apps="[N/A], [N/A]\n")
    assert gpu.look(10) == gpu.Look("NVIDIA H100", "550.1", None, None, frozenset())


def test_one_that_does_not_answer_is_not_waited_for(on_path: Smi, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = gpu.Watch(os.getpid(), answering=True, sparing=False)
    on_path.does("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(gpu, "ANSWER_S", 0.2)
    monkeypatch.setattr(gpu, "LOOK_EVERY_S", 0.0)
    began = time.monotonic()
    assert gpu.look(0.2) is None
    watch.start()
    watch.close()
    assert time.monotonic() - began < 5
    assert not watch.thread.is_alive()
    assert watch.use() is None
    assert not watch.telling()


@given(st.text(st.sampled_from("NV,0123456789.[/A]\n -%é\0"), max_size=60) | st.text(max_size=60))
def test_no_answer_does_harm(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "ask", lambda question, patience_s: text)
        found = gpu.look(1)
    if found is not None:
        assert found.percent is None or found.percent >= 0
        assert found.memory_bytes is None or found.memory_bytes >= 0
