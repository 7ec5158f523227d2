"""The deep belief network's stages, and both models as a user trains them, on the bundled digits."""

from __future__ import annotations

import json
import pickle
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from jobs.config import resolve
from jobs.datasets import digits
from jobs.errors import JobError
from jobs.models import dbn
from tests.once import Once

SMALL = ("--data", "digits", "--set", "hidden_units=100,60", "--set", "pretraining_epochs=6")
STOP_SECONDS = 1.5

SESSION = """
from jobs import runtime
from jobs.cli import main
from jobs.config import resolve

runtime.start(resolve("rbm", {}, None))
runtime.start = lambda config: None  # once in a process, and this one trains many times
train = ["train", "rbm", "--data", "digits", "--epochs", "10", "--set", "hidden_units=80"]
main([*train, "--output-dir", "cd"])
main([*train, "--output-dir", "pcd", "--set", "persistent_chains=30", "--set", "k=2"])
main(["evaluate", "pcd/weights.pkl", "--data", "digits"])
small = ["--data", "digits", "--epochs", "2", "--set", "hidden_units=30,20"]
main(["train", "dbn", *small, "--set", "pretraining_epochs=1", "--output-dir", "with"])
main(["train", "dbn", *small, "--set", "pretraining_epochs=0", "--output-dir", "without"])
main(["evaluate", "with/weights.pkl", "--data", "digits"])
"""


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def weights(folder: Path) -> dict[str, np.ndarray]:
    return pickle.loads((folder / "weights.pkl").read_bytes())


def metrics(folder: Path) -> list[tuple[int, str, float]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["step"], line["name"], line["value"]) for line in map(json.loads, lines)]


def stages(**options):
    return dbn.stages(resolve("dbn", {"options": options, "data": "digits"}, None))


@pytest.fixture(scope="module")
def session(jobs_in, once: Once):
    def make(folder: Path):
        done = jobs_in(folder).run(program=("-c", SESSION))
        assert done.returncode == 0, done.stderr
        return folder, done

    return once("dbn-session", make)


@pytest.fixture(scope="module")
def trained(jobs_in, once: Once):
    def make(folder: Path):
        done = jobs_in(folder).run("train", "dbn", *SMALL)
        assert done.returncode == 0, done.stderr
        return folder / "output", done

    return once("dbn-trained", make)


class Recorder:
    """A network that remembers what its layers are given."""

    def __init__(self) -> None:
        self.given: dict[str, list[np.ndarray]] = {}

    def get_layer(self, name: str):
        recorder = self

        class Layer:
            def set_weights(self, arrays: list[np.ndarray]) -> None:
                recorder.given[name] = arrays

        return Layer()


def test_one_machine_a_layer_then_the_whole():
    found = stages(hidden_units=(30, 20), pretraining_epochs=3, k=2)
    assert [stage.name for stage in found] == ["rbm-1", "rbm-2", "fine-tuning"]
    assert [stage.objective for stage in found] == ["contrastive_divergence"] * 2 + ["classification"]
    assert [stage.config.options for stage in found[:2]] == [
        {"hidden_units": units, "k": 2, "persistent_chains": 0} for units in (30, 20)
    ]
    assert {stage.config.epochs for stage in found[:2]} == {3}
    assert len({stage.config.seed for stage in found}) == 3


def test_without_pretraining_there_is_the_whole_alone():
    assert [stage.name for stage in stages(pretraining_epochs=0)] == ["fine-tuning"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_units": (30, 0)}, "hidden_units is 0: expected a whole number of at least 1"),
        ({"pretraining_epochs": -1}, "pretraining_epochs is -1: expected a whole number of at least 0"),
        ({"pretraining_rate": 0.0}, "pretraining_rate is 0.0: expected a number above 0"),
        ({"k": 0}, "k is 0: expected a whole number of at least 1"),
    ],
)
def test_options_that_cannot_be_are_told(options, message: str):
    with pytest.raises(JobError, match=re.escape(message)):
        stages(**options)


def test_a_machine_is_trained_on_the_means_of_the_layer_below_and_hands_its_weights_on():
    rng = np.random.default_rng(0)
    shapes = {"rbm-1": (64, 30), "rbm-2": (30, 20)}
    done = {
        name: {"rbm/kernel": rng.normal(size=shape), "rbm/hidden_bias": rng.normal(size=shape[1])}
        for name, shape in shapes.items()
    }
    found, data = stages(hidden_units=(30, 20, 10)), digits.read()
    rows = data.test_x / 16
    for stage, name in zip(found[1:], shapes, strict=False):
        rows = 1 / (1 + np.exp(-(rows @ done[name]["rbm/kernel"] + done[name]["rbm/hidden_bias"])))
        selected = stage.select(data, done)
        np.testing.assert_allclose(selected.test_x, rows, rtol=1e-4, atol=1e-6)
        assert selected.train_x.shape == (1438, rows.shape[1])
        assert (selected.scale, selected.image_shape) == (1.0, None)
        np.testing.assert_array_equal(selected.train_y, data.train_y)
    recorder = Recorder()
    found[-1].begin(recorder, done)
    for layer, name in enumerate(shapes, start=1):
        kernel, bias = recorder.given[f"hidden_{layer}"]
        np.testing.assert_array_equal(kernel, done[name]["rbm/kernel"])
        np.testing.assert_array_equal(bias, done[name]["rbm/hidden_bias"])


def test_machines_learn_to_reconstruct(session):
    """Pixels' means alone would come to 27.1 nats a row, the rows themselves to 13.5: they are grey."""
    folder, done = session
    assert 13.5 < result(folder / "cd")["reconstruction"] < 22
    assert 13.5 < result(folder / "pcd")["reconstruction"] < 22
    assert f"Test reconstruction: {result(folder / 'pcd')['reconstruction']:.4f}" in done.stdout
    shapes = {"rbm/kernel": (64, 80), "rbm/visible_bias": (64,), "rbm/hidden_bias": (80,)}
    assert {name: array.shape for name, array in weights(folder / "cd").items()} == shapes
    assert {name: array.shape for name, array in weights(folder / "pcd").items()} == {**shapes, "rbm/chain": (30, 64)}
    assert set(np.unique(weights(folder / "pcd")["rbm/chain"])) == {0.0, 1.0}


def test_pretraining_is_told_stage_by_stage_and_ends_in_one_network(session):
    folder, done = session
    assert re.findall(r"^\[(\S+)\] Cost", done.stdout, re.MULTILINE) == [
        *("rbm-1", "rbm-2", "fine-tuning", "fine-tuning"),
        *("fine-tuning", "fine-tuning"),
    ]
    for name in ("with", "without"):
        assert {path: array.shape for path, array in weights(folder / name).items()} == {
            "hidden_1/kernel": (64, 30),
            "hidden_1/bias": (30,),
            "hidden_2/kernel": (30, 20),
            "hidden_2/bias": (20,),
            "output/kernel": (20, 10),
            "output/bias": (10,),
        }
    assert f"Test error: {result(folder / 'with')['error']:.2%}" in done.stdout
    assert not np.array_equal(
        weights(folder / "with")["hidden_1/kernel"], weights(folder / "without")["hidden_1/kernel"]
    )


def test_pretrained_it_learns_the_digits(trained):
    assert result(trained[0])["error"] < 0.05


def test_killed_in_the_second_machine_it_goes_on_to_the_same_bytes(jobs, trained):
    folder, _ = trained
    options = (*SMALL, "--checkpoint-dir", "checkpoint")
    with jobs.start("train", "dbn", *options) as process:
        next(line for line in process.stdout if line.startswith("[rbm-2]"))
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        stopped = next((line for line in process.stdout if line.startswith("Stopped by SIGTERM")), "")
        seconds = time.monotonic() - asked
        _, errors = process.communicate()
    assert process.returncode == 143, errors
    assert "checkpoint in" in stopped
    assert seconds < STOP_SECONDS
    assert {path.name for path in (jobs.folder / "checkpoint").iterdir()} == {"checkpoint.npz", "stage-0.npz"}
    again = jobs.run("train", "dbn", *options)
    assert again.returncode == 0, again.stderr
    assert "[rbm-1]" not in again.stdout
    assert (jobs.folder / "output" / "weights.pkl").read_bytes() == (folder / "weights.pkl").read_bytes()
    assert metrics(jobs.folder / "output") == metrics(folder)


def test_stopped_as_a_stage_ends_it_goes_on_with_the_next(jobs, trained):
    """From the last line of a stage on, a signal comes as it is saved, or as the next stage is opened."""
    folder, _ = trained
    options = (*SMALL, "--checkpoint-dir", "checkpoint")
    with jobs.start("train", "dbn", *options) as process:
        next(line for line in process.stdout if line.startswith("[rbm-1]") and " i=5, " in line)
        while not (jobs.folder / "checkpoint" / "stage-0.npz").exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    again = jobs.run("train", "dbn", *options)
    assert again.returncode == 0, again.stderr
    assert (jobs.folder / "output" / "weights.pkl").read_bytes() == (folder / "weights.pkl").read_bytes()
