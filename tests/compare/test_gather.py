"""Results folders become trials, whatever lies in them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.compare import course, stored
from launcher.compare.assemble import LegRun, assemble
from launcher.compare.gather import trials
from launcher.comparison import Trial, TrialState
from launcher.domain import RunId
from tests.compare import samples
from tests.compare.folders import BEGAN_S, CPU, GPU, line, put, record


def one(results: Path, leg=CPU, **options) -> Trial:
    (trial,) = trials(results, [leg], 1, **options)
    return trial


def deck_metrics(epochs: int = 4, epoch_s: float = 2.0, ready_s: float = 3.0, first_s: float = 0.0) -> str:
    """Ten batches an epoch, told of every fifth; the first epoch takes `first_s` longer."""
    found = []
    for epoch in range(epochs):
        for batch in (0, 5):
            at_s = ready_s + epoch * epoch_s + batch * epoch_s / 10 + (first_s if epoch or batch else 0)
            step = epoch * 10 + batch
            found.append(
                line(step, at_s, epoch, "cost", 100.0 - step) + line(step, at_s, epoch, "error", 0.9 - step / 100)
            )
    return "".join(found)


def test_a_trial_is_what_its_files_say(tmp_path):
    folder = put(tmp_path)
    (folder / "metrics.jsonl").write_text(deck_metrics())
    result = {"cost": 61.5, "error": 0.52, "seconds": 8.7, "device": "cpu", "rows": {"train": 500, "test": 9}}
    (folder / "result.json").write_text(json.dumps(result | {"epochs": 4, "steps": 40, "versions": {"keras": "3.15"}}))
    (folder / "weights.pkl").write_bytes(b"any")
    (folder / "inputs.npz").write_bytes(b"not the weights")
    trial = one(tmp_path, target=0.605)
    assert (trial.state, trial.reason, trial.notes) == (TrialState.DONE, "", ())
    assert (trial.steps, trial.epochs, trial.samples, trial.device_told) == (40, 4, 500, "cpu")
    assert (trial.final_cost, trial.final_error) == (61.5, 0.52)
    assert trial.began_at == datetime.fromtimestamp(BEGAN_S, UTC)
    assert trial.ready_s == pytest.approx(3.0)
    assert trial.train_s == 8.7
    assert trial.epoch_s == pytest.approx(2.0)
    # 40 steps at 0.2 s are 8 s of the 8.7.
    assert trial.warm_up_s == pytest.approx(0.7, abs=1e-4)
    assert trial.first_epoch_s == pytest.approx(2.7, abs=1e-4)
    assert trial.samples_per_s == pytest.approx(250)
    assert trial.target_s == pytest.approx(3.0 + 3 * 2.0)
    assert [point.step for point in trial.points] == [0, 5, 10, 15, 20, 25, 30, 35]
    assert trial.versions == (("keras", "3.15"),)
    assert trial.weights == "legs/cpu-float32/1/weights.pkl"
    assert trial.usage is not None
    assert trial.usage.elapsed_s == 20.0
    assert trial.machine is not None
    assert trial.machine.processor == "EPYC"


def test_a_script_that_tells_nothing_still_has_its_usage(tmp_path):
    put(tmp_path)
    trial = one(tmp_path)
    assert trial.state is TrialState.DONE
    assert trial.usage is not None
    assert (trial.points, trial.train_s, trial.epoch_s, trial.weights, trial.notes) == ((), None, None, "", ())


def test_the_first_epoch_does_not_count_for_the_steady_pace(tmp_path):
    folder = put(tmp_path)
    (folder / "metrics.jsonl").write_text(deck_metrics(first_s=5.0))
    trial = one(tmp_path)
    assert trial.epoch_s == pytest.approx(2.0)
    assert trial.first_epoch_s == pytest.approx(7.0)
    assert trial.warm_up_s is None


def test_only_the_last_stage_is_told_and_a_second_course_beside_it_is_not(tmp_path):
    folder = put(tmp_path)
    lines = [line(step, step, name="first/cost", value=9.0) for step in range(5)]
    lines += [line(step, step, step - 5, name="main/cost", value=3.0) for step in range(5, 9)]
    lines += [line(9, 9, 4, name="val/loss", value=7.0), line(9, 9, 4, name="first/cost", value=7.0)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    trial = one(tmp_path)
    assert [(point.step, point.cost) for point in trial.points] == [(5, 3.0), (6, 3.0), (7, 3.0), (8, 3.0)]
    assert trial.ready_s == 0.0
    assert trial.epoch_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ([line(0, -500)], "1 line of metrics.jsonl are from before the trial began"),
        ([line(0, 5000)], "1 line of metrics.jsonl are from after its end"),
        ([line(5, 1), line(4, 2)], "1 line of metrics.jsonl go back in steps or time"),
        ([line(5, 9), line(6, 2)], "1 line of metrics.jsonl go back in steps or time"),
        (
            ["{]\n", "7\n", line(0, 1, name="cost").replace('"step": 0', '"step": -1')],
            "3 lines of metrics.jsonl cannot be read",
        ),
        (["x" * (course.LONGEST_LINE * 3) + "\n"], "lines of metrics.jsonl cannot be read"),
    ],
)
def test_what_cannot_be_is_passed_over_and_told(tmp_path, lines, note):
    folder = put(tmp_path)
    (folder / "metrics.jsonl").write_text("".join([*lines, line(7, 12, 1)]))
    trial = one(tmp_path)
    assert trial.state is TrialState.DONE
    assert any(note in said for said in trial.notes), trial.notes
    assert trial.points[-1].step == 7


def test_a_cost_that_is_no_number_is_told_and_not_drawn(tmp_path):
    folder = put(tmp_path)
    found = [
        line(0, 1),
        line(1, 2, value=float("nan")),
        line(1, 2, name="error", value=0.5),
        line(2, 3, value=float("inf")),
    ]
    (folder / "metrics.jsonl").write_text("".join(found))
    trial = one(tmp_path)
    assert trial.diverged_at_step == 1
    assert [(point.step, point.cost, point.error) for point in trial.points] == [(0, 1.0, None), (1, None, 0.5)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "glorious"}, "it says 'glorious', expected done or failed"),
        ({"state": []}, "expected done or failed"),
        ({"leg": "gpu-float32"}, "it is of another trial (leg 'gpu-float32', repeat 1)"),
        ({"repeat": 2}, "it is of another trial"),
        ({"exit_status": 3}, "exit status 3"),
        ({"state": "failed", "exit_status": 3}, "it exited with status 3"),
        ({"state": "failed", "reason": "out\x1b[2J of memory\n"}, "out [2J of memory"),
    ],
)
def test_a_record_that_cannot_be_true_fails_the_trial(tmp_path, change, reason):
    (put(tmp_path) / "gpurun-trial.json").write_text(json.dumps(record() | change))
    trial = one(tmp_path)
    assert trial.state is TrialState.FAILED
    assert reason in trial.reason


def test_no_record_is_a_trial_that_is_missing(tmp_path):
    assert one(tmp_path).state is TrialState.MISSING
    (put(tmp_path) / "gpurun-trial.json").unlink()
    assert one(tmp_path).state is TrialState.MISSING
    assert one(tmp_path / "nowhere").state is TrialState.MISSING


def test_a_gpu_leg_that_says_that_it_used_the_cpu_is_not_done(tmp_path):
    folder = put(tmp_path, GPU)
    (folder / "result.json").write_text('{"device": "cpu"}')
    trial = one(tmp_path, GPU)
    assert trial.state is TrialState.WRONG_DEVICE
    assert trial.reason == "it was told to use the gpu, and says that it used the cpu"
    (folder / "result.json").write_text('{"device": "CUDA:0"}')
    assert one(tmp_path, GPU).state is TrialState.DONE


@pytest.mark.parametrize("name", ["gpurun-trial.json", "metrics.jsonl", "result.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "large", "secret"])
def test_a_file_that_is_none_blocks_nobody_and_leads_nowhere(tmp_path, name, kind):
    folder, outside = put(tmp_path / "results"), tmp_path / "outside.json"
    outside.write_text((folder / "gpurun-trial.json").read_text())
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(10 << 30)
    else:
        path.write_bytes(b"\xff\xfe\x00" * 100)
    trial = one(tmp_path / "results")
    assert trial.points == ()
    if name == "gpurun-trial.json":
        assert trial.state is TrialState.FAILED
        assert "gpurun-trial.json" in trial.reason
    else:
        assert trial.state is TrialState.DONE
        assert any(name in note for note in trial.notes), trial.notes


@pytest.mark.parametrize("part", ["legs", "legs/cpu-float32", "legs/cpu-float32/1"])
def test_a_folder_that_is_a_link_is_not_followed(tmp_path, part):
    put(tmp_path / "elsewhere")
    path = tmp_path / "results" / part
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere" / part)
    trial = one(tmp_path / "results")
    assert trial.state is TrialState.FAILED
    assert "is no folder" in trial.reason


def test_weights_that_are_a_link_are_not_taken(tmp_path):
    folder = put(tmp_path)
    (folder / "weights.pkl").symlink_to("/etc/passwd")
    assert one(tmp_path).weights == ""


def test_many_figures_are_thinned_evenly_with_the_first_and_the_last(tmp_path):
    folder = put(tmp_path)
    lines = [line(step, step / 10_000, step // 100) for step in range(50_001)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    trial = one(tmp_path)
    steps = [point.step for point in trial.points]
    assert steps[0] == 0
    assert steps[-1] == 50_000
    assert 1_000 <= len(steps) <= 2_001
    assert {later - earlier for earlier, later in pairwise(steps)} == {32, 50_000 % 32}
    assert trial.epoch_s == pytest.approx(0.01, rel=1e-3)
    assert trial.epochs == 501


def test_of_a_very_large_file_samples_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "WHOLE_BYTES", 400_000)
    monkeypatch.setattr(course, "WINDOWS", 500)
    folder = put(tmp_path)
    lines = [line(step, step / 5_000, step // 100) for step in range(20_000)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    trial = one(tmp_path)
    assert trial.notes == ()
    assert (trial.points[0].step, trial.points[-1].step) == (0, 19_999)
    assert 1_000 <= len(trial.points) <= 2_001
    assert trial.epoch_s == pytest.approx(0.02, rel=0.2)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("done"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
times = st.floats(BEGAN_S - 5, BEGAN_S + 40) | anything
figure = st.fixed_dictionaries(
    {
        "step": st.integers(0, 50) | anything,
        "epoch": st.integers(0, 5) | st.floats(0, 5) | anything,
        "name": st.sampled_from(["cost", "error", "loss", "a/cost", "b/error", "val/loss"]) | anything,
        "value": st.floats() | anything,
        "time": times,
    }
)
usage = st.fixed_dictionaries({name: st.floats(0, 50) | st.integers() | anything for name in ("user_s", "elapsed_s")})
records = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from([*TrialState]) | anything,
        "exit_status": st.integers() | anything,
        "began_at": times,
        "usage": usage.map(lambda found: {"system_s": 1.0, **dict.fromkeys(samples.COUNTED, 1), **found}) | anything,
        "gpu": anything,
        "machine": anything,
        "again": anything,
        "reason": anything,
    },
)
results_json = st.fixed_dictionaries(
    {},
    optional={
        name: st.floats() | st.integers(0, 99) | anything for name in ("cost", "error", "seconds", "epochs", "steps")
    }
    | {"rows": st.fixed_dictionaries({"train": st.integers() | anything}), "versions": anything, "device": anything},
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=st.lists(st.tuples(records, results_json, st.lists(figure, max_size=12), st.binary(max_size=20)), max_size=2)
)
def test_whatever_a_machine_sends_becomes_a_comparison_that_can_be_kept(tmp_path_factory, told):
    results = tmp_path_factory.mktemp("results")
    for leg, (said, result, metrics, junk) in zip((CPU, GPU), told, strict=False):
        folder = put(results, leg, **said)
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "metrics.jsonl").write_bytes("".join(json.dumps(each) + "\n" for each in metrics).encode() + junk)
        (folder / "weights.pkl").write_bytes(junk)
    run = LegRun(legs=(CPU, GPU), run_id=RunId("fuzzed"), results=results)
    found = assemble(samples.request("fuzzed", repeats=1, target=0.5), [run])
    assert stored.loads(stored.dumps(found)) == found
    assert [len(leg.trials) for leg in found.legs] == [1, 1]
    for leg in found.legs:
        for trial in leg.trials:
            assert trial.state is TrialState.DONE or trial.reason
            assert [point.step for point in trial.points] == sorted({point.step for point in trial.points})
            assert all(point.at_s >= 0 for point in trial.points)


def test_a_failed_trial_says_what_it_wrote_last(tmp_path):
    put(tmp_path, state="failed", exit_status=3, reason="exit status 3", last_line="ValueError:\x1b[31m no")
    put(tmp_path, repeat=2, last_line="all is well")
    failed, done = trials(tmp_path, [CPU], 2)
    assert failed.reason == "exit status 3; its last line: ValueError: [31m no"
    assert (done.state, done.reason) == (TrialState.DONE, "")
