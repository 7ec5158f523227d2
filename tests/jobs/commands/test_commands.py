"""Predict, export, plot, check and faces as a user sees them, on what short trainings left behind."""

from __future__ import annotations

import csv
import json
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jobs import check
from jobs.sampling import order
from tests.once import Once

PROGRAM = Path(__file__).with_name("session.py")


@dataclass(frozen=True)
class Session:
    folder: Path
    told: dict[str, int]
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def session(jobs_in, once: Once) -> Session:
    def make(folder: Path) -> Session:
        done = jobs_in(folder).run(program=(str(PROGRAM),))
        assert done.returncode == 0, done.stderr + done.stdout
        return Session(folder, json.loads((folder / "told.json").read_text()), done.stdout, done.stderr)

    return once("commands", make)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def logits(folder: Path, x: np.ndarray, model: str = "mlp") -> np.ndarray:
    weights = pickle.loads((folder / model / "weights.pkl").read_bytes())
    hidden = np.maximum(x @ weights["hidden/kernel"] + weights["hidden/bias"], 0)
    return hidden @ weights["output/kernel"] + weights["output/bias"]


def digits() -> tuple[np.ndarray, np.ndarray]:
    from jobs.datasets import digits

    data = digits.read()
    return data.test_x, data.test_y


def test_predictions_are_what_the_weights_say(session: Session):
    x, y = digits()
    answers = logits(session.folder, x / 16)
    powers = np.exp(answers - answers.max(axis=1, keepdims=True))
    found = rows(session.folder / "predicted.csv")
    assert list(found[0]) == ["row", "class", "probability", "label"]
    assert [int(row["class"]) for row in found] == answers.argmax(axis=1).tolist()
    assert [int(row["label"]) for row in found] == y.tolist()
    expected = powers.max(axis=1) / powers.sum(axis=1)
    assert np.allclose([float(row["probability"]) for row in found], expected, atol=1e-5)


def test_rows_without_labels_become_a_submission(session: Session):
    x, _ = digits()
    found = rows(session.folder / "new" / "submission.csv")
    assert list(found[0]) == ["ImageId", "Label"]
    assert [int(row["ImageId"]) for row in found] == list(range(1, len(x) + 1))
    expected = logits(session.folder, (x * 15).astype(np.uint8) / 255).argmax(axis=1)
    assert [int(row["Label"]) for row in found] == expected.tolist()


def test_yes_or_no_is_judged_and_told_as_it_was_trained(session: Session):
    result = json.loads((session.folder / "binary" / "result.json").read_text())
    assert f"Test error: {result['error']:.2%}" in session.stdout
    found = rows(session.folder / "binary.csv")
    assert {row["label"] for row in found} == {"0", "1"}
    wrong = sum(row["class"] != row["label"] for row in found)
    assert wrong / len(found) == pytest.approx(result["error"])
    assert all(float(row["probability"]) >= 0.5 for row in found)


def test_what_cannot_be_answered_is_said(session: Session):
    assert [session.told[name] for name in ("predict rbm", "submit alone", "export alone", "export jax")] == [2] * 4
    assert "rbm tells no classes, it reconstructs" in session.stderr
    assert "no result.json beside alone.pkl that tells what the network answers" in session.stderr
    assert "no result.json beside alone.pkl that tells the network's shape" in session.stderr
    assert "a SavedModel is TensorFlow's: say --backend tensorflow" in session.stderr
    assert not (session.folder / "rbm.csv").exists()


def test_exports_hold_the_same_weights(session: Session):
    from jobs import weights

    original = weights.load(session.folder / "mlp" / "weights.pkl")
    for name in ("weights.pkl", "weights.npz", "weights.safetensors"):
        found = weights.load(session.folder / "exported" / name)
        assert found.keys() == original.keys()
        assert all(np.array_equal(found[each], original[each]) for each in original)
    assert not list((session.folder / "exported").glob(".*"))


def test_exported_networks_answer_alike(session: Session):
    x, _ = digits()
    for model, tolerance in (("mlp", 1e-4), ("half", 0.1)):
        expected = logits(session.folder, x / 16, model)
        for name, answers in json.loads((session.folder / "answers.json").read_text())[model].items():
            assert np.allclose(answers, expected, atol=tolerance), (model, name)
    assert session.told["types"] == ["float32"]  # asked in it, too


def test_plots_of_each_kind(session: Session):
    pytest.importorskip("matplotlib")
    import matplotlib.image

    common = {"learning-curves", "first-layer", "activations", "confusion", "worst-errors"}
    expected = {
        "mlp": common | {"layers"},
        "lenet": common,
        "rbm": {"learning-curves", "first-layer", "reconstructions"},
    }
    for model, names in expected.items():
        found = {path.stem: matplotlib.image.imread(path) for path in (session.folder / model / "plots").glob("*")}
        assert found.keys() == names
        assert all(picture.std() > 0.01 for picture in found.values()), model  # something was drawn
    assert session.told["plot nothing"] == 2
    assert "nowhere is no folder" in session.stderr


def test_models_pass_their_checks_and_broken_ones_do_not(session: Session):
    assert [session.told[f"check {name}"] for name in ("deck-mlp", "lenet", "rbm", "binary")] == [0] * 4
    said = session.stdout.partition("done: plot nothing")[2]
    good, _, bad = said.partition("done: check binary")
    assert len(re.findall(r"^ok +10 rows by heart: cost", good, re.MULTILINE)) == 4
    assert len(re.findall(r"^ok +penalty: cost", good, re.MULTILINE)) == 4
    assert len(re.findall(r"^ok +cost at the start", good, re.MULTILINE)) == 3
    assert len(re.findall(r"^ok +gradients of \d+ weights", good, re.MULTILINE)) == 3
    assert len(re.findall(r"^left out ", good, re.MULTILINE)) == 2
    assert session.told["check failing"] == 1
    assert len(re.findall(r"^failed ", bad, re.MULTILINE)) == 3


def test_a_check_draws_what_no_epoch_draws():
    drawn = np.random.default_rng([7, *check.CHECK]).permutation(50)
    assert not any(np.array_equal(drawn, order.permutation(7, epoch, 50)) for epoch in range(20))


def test_plot_says_when_matplotlib_is_missing(jobs):
    program = "import sys; sys.modules['matplotlib'] = None; from jobs.cli import main; sys.exit(main(['plot', '.']))"
    done = jobs.run(program=("-c", program))
    assert done.returncode == 2
    assert done.stderr == "error: matplotlib is not installed: pip install 'gpurun-launcher[plots]'\n"


def test_faces_are_written_as_the_real_sets_are(jobs):
    from jobs.datasets import fer, key_points

    for kind, reader in (("key-points", key_points.read), ("expressions", fer.read)):
        path = jobs.folder / f"{kind}.csv"
        assert jobs.run("faces", "--kind", kind, "--rows", "30", "--seed", "4", "--output", path).returncode == 0
        data = reader(path)
        valid = 0 if data.valid_x is None else len(data.valid_x)
        assert len(data.train_x) + len(data.test_x) + valid == 30
    done = jobs.run("faces", "--kind", "cats", "--rows", "3", "--output", "cats.csv")
    assert (done.returncode, done.stderr) == (
        2,
        "error: unknown kind of faces 'cats': expected key-points or expressions\n",
    )
