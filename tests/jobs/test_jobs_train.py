"""Training as a user sees it: real processes, real signals, the bundled digits, and MNIST where it is at hand."""

from __future__ import annotations

import json
import pickle
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.once import Once

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"
LINE = re.compile(r"Cost / err at iteration i=(\d+), j=(\d+): (\d+\.\d{3}) / ([01]\.\d{3})")
TIME = re.compile(r"Training time: \d+:\d\d:\d\d\.\d{6}")

SESSION = """
import sys
from jobs import runtime
from jobs.cli import main
from jobs.config import resolve

runtime.start(resolve("deck-mlp", {}, None))
runtime.start = lambda config: None  # once in a process, and this one trains many times
for seed in range(5):
    main(["train", "deck-mlp", "--seed", str(seed), "--output-dir", f"seed-{seed}"])
main(["train", "logistic", "--output-dir", "logistic"])
main(["evaluate", "seed-3/weights.pkl"])
main(["evaluate", "logistic/weights.pkl", "--model", "deck-mlp"])
print("status", main(["train", "deck-mlp", "--learning-rate", "1e30", "--output-dir", "diverged"]))
print("status", main(["train", "deck-mlp", "--batch-size", "5000", "--output-dir", "too-large"]))
"""


@pytest.fixture(scope="module")
def trained(jobs_in, once: Once):
    """The first thing that anybody runs: no option, nothing in the environment."""
    return once("train-first", lambda folder: (folder / "output", jobs_in(folder).run("train", "deck-mlp")))


@pytest.fixture(scope="module")
def session(jobs_in, once: Once):
    """Many trainings in one process, since TensorFlow takes seconds to import."""
    return once("train-session", lambda folder: (folder, jobs_in(folder).run(program=("-c", SESSION))))


def metrics(folder: Path) -> list[tuple[int, str, float]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["step"], line["name"], line["value"]) for line in map(json.loads, lines)]


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_prints_as_the_deck_does(trained):
    folder, done = trained
    assert done.returncode == 0, done.stderr
    places = [(int(i), int(j)) for i, j, _, _ in LINE.findall(done.stdout)]
    assert places == [(i, j) for i in range(60) for j in (0, 10, 20)]
    first, last = LINE.findall(done.stdout)[0], LINE.findall(done.stdout)[-1]
    assert float(last[2]) < float(first[2]) / 5
    assert TIME.search(done.stdout)
    assert re.search(r"Final test error: \d\.\d\d% of 359 held-out rows\nUsed the cpu\n$", done.stdout)
    assert not list(folder.parent.glob(".keras*"))


def test_leaves_weights_metrics_and_a_result(trained):
    folder, done = trained
    weights = pickle.loads((folder / "weights.pkl").read_bytes())
    assert {name: array.shape for name, array in weights.items()} == {
        "hidden/kernel": (64, 300),
        "hidden/bias": (300,),
        "output/kernel": (300, 10),
        "output/bias": (10,),
    }
    found = result(folder)
    assert found["error"] < 0.04
    assert (found["device"], found["seed"], found["dtype_policy"]) == ("cpu", 0, "float32")
    assert {"python", "keras", "numpy"} < set(found["versions"])
    assert (found["rows"], found["epochs"], found["steps"]) == ({"train": 1438, "test": 359}, 60, 60 * 28)
    printed = [(float(cost), float(error)) for _, _, cost, error in LINE.findall(done.stdout)]
    written = metrics(folder)
    assert [round(value, 3) for _, name, value in written if name == "cost"] == [cost for cost, _ in printed]
    assert [step for step, name, _ in written if name == "error"] == [
        28 * i + j for i in range(60) for j in (0, 10, 20)
    ]


def test_cost_is_the_summed_cross_entropy_and_the_penalty_on_the_held_out_rows(trained):
    from jobs.datasets import digits  # beside its only use

    folder, _ = trained
    weights = {
        name: array.astype(np.float64) for name, array in pickle.loads((folder / "weights.pkl").read_bytes()).items()
    }
    data = digits.read()
    hidden = np.maximum(data.test_x / 16 @ weights["hidden/kernel"] + weights["hidden/bias"], 0)
    logits = hidden @ weights["output/kernel"] + weights["output/bias"]
    log_sum = np.log(np.exp(logits).sum(axis=1))
    cross_entropy = (log_sum - logits[np.arange(len(logits)), data.test_y]).sum()
    penalty = 0.01 * sum((array**2).sum() for array in weights.values())
    assert result(folder)["cost"] == pytest.approx(cross_entropy + penalty, rel=1e-5)
    assert result(folder)["error"] == pytest.approx((logits.argmax(axis=1) != data.test_y).mean(), abs=1e-12)


def test_five_seeds_end_under_four_percent(session):
    folder, done = session
    errors = [result(folder / f"seed-{seed}")["error"] for seed in range(5)]
    assert max(errors) < 0.04, done.stderr
    assert len({(folder / f"seed-{seed}" / "weights.pkl").read_bytes() for seed in range(5)}) == 5
    assert result(folder / "logistic")["error"] < 0.05


def test_the_same_seed_gives_the_same_bytes_in_another_process(session, trained):
    assert (session[0] / "seed-0" / "weights.pkl").read_bytes() == (trained[0] / "weights.pkl").read_bytes()


def test_evaluate_finds_the_error_that_training_reported(session):
    folder, done = session
    assert f"Test error: {result(folder / 'seed-3')['error']:.2%}\nUsed the cpu\n" in done.stdout
    assert "error: there is no hidden/kernel among output/bias, output/kernel: is this another model's?" in done.stderr


def test_a_cost_that_is_no_number_ends_the_job(session):
    _, done = session
    assert "lower the learning rate 1e+30" in done.stderr
    assert "batch_size 5000 is more than the 1,438 training rows" in done.stderr
    assert re.findall(r"status \d", done.stdout) == ["status 1", "status 2"]


def test_stopped_by_sigterm_it_goes_on_to_the_same_bytes(jobs, tmp_path: Path, trained):
    folder, _ = trained
    interrupted = tmp_path / "interrupted"
    variables = {"GPURUN_OUTPUT_DIR": str(interrupted), "GPURUN_CHECKPOINT_DIR": str(tmp_path / "checkpoint")}
    with jobs.start("train", "deck-mlp", **variables) as process:
        next(line for line in process.stdout if " i=5, j=10" in line)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate()
    assert process.returncode == 143
    stopped = re.search(r"Stopped by SIGTERM at iteration i=(\d+), j=(\d+): checkpoint in ", rest)
    assert stopped, rest
    assert 5 <= int(stopped[1]) < 60
    assert not (interrupted / "result.json").exists()
    again = jobs.run("train", "deck-mlp", **variables)
    assert again.returncode == 0, again.stderr
    assert f"Going on from the checkpoint at iteration i={stopped[1]}, j={stopped[2]}" in again.stdout
    assert (interrupted / "weights.pkl").read_bytes() == (folder / "weights.pkl").read_bytes()
    assert metrics(interrupted) == metrics(folder)
    assert result(interrupted)["cost"] == result(folder)["cost"]


def test_a_gpu_that_is_not_there_is_refused(jobs):
    done = jobs.run("train", "deck-mlp", GPURUN_DEVICE="gpu", CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 2
    assert (
        "error: asked for a GPU, TensorFlow sees none: say --device cpu or pick an image with drivers\n" in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("floatx", "policy", "kept"), [("float64", "float64", "float64"), ("bfloat16", "mixed_bfloat16", "float32")]
)
def test_computes_in_the_floating_point_type_that_was_asked_for(jobs, floatx: str, policy: str, kept: str):
    done = jobs.run("train", "deck-mlp", "--epochs", "2", GPURUN_FLOATX=floatx)
    assert done.returncode == 0, done.stderr
    assert result(jobs.folder / "output")["dtype_policy"] == policy
    weights = pickle.loads((jobs.folder / "output" / "weights.pkl").read_bytes())
    assert {str(array.dtype) for array in weights.values()} == {kept}


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST's four IDX files are not beside the checkout")
def test_the_decks_job_on_mnist_ends_under_eight_percent(jobs):
    done = jobs.run("train", "deck-mlp", "--data", MNIST)
    assert done.returncode == 0, done.stderr
    lines = LINE.findall(done.stdout)
    assert [(int(i), int(j)) for i, j, _, _ in lines] == [(i, j) for i in range(20) for j in range(0, 120, 10)]
    assert all(float(error) < 0.08 for i, _, _, error in lines if i == "19")
    assert result(jobs.folder / "output")["error"] < 0.08
