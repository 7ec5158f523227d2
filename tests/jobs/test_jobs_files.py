"""What jobs write and read back: checkpoints, weights, metrics; whole, or not at all."""

from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from jobs import checkpoint, outputs, weights
from jobs.errors import JobError
from jobs.files import make_folder, write_atomically

JOB = {"model": "deck-mlp", "seed": 0, "l2": 0.01}


def a_checkpoint(**changes) -> checkpoint.Checkpoint:
    values = {
        "variables": {"model/hidden/kernel": np.ones((3, 2), np.float32), "optimizer/iteration": np.array(7)},
        "best": {"hidden/kernel": np.zeros((3, 2), np.float32)},
        "job": JOB,
        "place": checkpoint.Place(epoch=4, batch=11, judged=False, seconds=1.25, stopper={"best": 0.5}),
        "order": np.array([2, 0, 1], np.int32),
    }
    return checkpoint.Checkpoint(**{**values, **changes})


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path):
    checkpoint.save(tmp_path, a_checkpoint())
    found = checkpoint.load(tmp_path, JOB)
    assert found is not None
    assert (found.place, found.order.tolist()) == (a_checkpoint().place, [2, 0, 1])
    assert found.best["hidden/kernel"].tolist() == [[0, 0]] * 3
    assert found.variables["model/hidden/kernel"].dtype == np.float32
    assert found.variables["optimizer/iteration"] == 7


def test_no_checkpoint_is_no_error(tmp_path: Path):
    assert checkpoint.load(tmp_path, JOB) is None


def test_another_jobs_checkpoint_is_refused(tmp_path: Path):
    checkpoint.save(tmp_path, a_checkpoint())
    with pytest.raises(JobError, match=r"of a job with l2 0\.01, this one has 0\.5: remove it"):
        checkpoint.load(tmp_path, {**JOB, "l2": 0.5})


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_a_broken_checkpoint_is_named(tmp_path: Path, kept: int):
    checkpoint.save(tmp_path, a_checkpoint())
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(JobError, match="is no checkpoint that can be read"):
        checkpoint.load(tmp_path, JOB)


def test_a_disk_that_fills_up_leaves_the_last_file_whole(tmp_path: Path):
    def run_full(file):
        file.write(b"half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "weights.pkl"
    path.write_bytes(b"before")
    with pytest.raises(JobError, match=r"cannot write .*weights\.pkl: No space left on device") as caught:
        write_atomically(path, run_full)
    assert caught.value.exit_code == 1
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="cannot make the folder"):
        make_folder(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["weights.pkl", "weights.npz"])
def test_weights_come_back_as_they_were(tmp_path: Path, name: str):
    arrays = {"hidden/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T, "hidden/bias": np.zeros(2)}
    weights.save(tmp_path, arrays)
    np.savez(tmp_path / "weights.npz", **arrays)
    found = weights.load(tmp_path / name)
    assert sorted(found) == sorted(arrays)
    assert all(np.array_equal(found[key], arrays[key]) for key in arrays)


class Hostile:
    """What a pickle may ask for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_something_is_refused_and_does_not_run(tmp_path: Path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"hidden/kernel": Hostile(tmp_path / "ran")}))
    with pytest.raises(JobError, match="no weights that can be trusted: it asks for "):
        weights.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(["no", "names"]),
        pickle.dumps({"hidden/kernel": [1.0]}),
        pickle.dumps({"hidden/kernel": np.array([{}], dtype=object)}),
        b"",
        b"PK\x03\x04",
        b"c__builtin__\nlist\n.",
        b"\x80\x04h\x05.",
        b"(R.",
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "weights.pkl"
    path.write_bytes(content)
    with pytest.raises(JobError, match=r"weights\.pkl holds "):
        weights.load(path)


def test_metrics_go_on_where_the_checkpoint_was(tmp_path: Path):
    log = outputs.MetricsLog.open(tmp_path, from_step=0)
    for step in (0, 10, 20):
        log.write(step=step, epoch=0, cost=float(step), error=0.5)
    log.close()
    with (tmp_path / outputs.METRICS).open("a", encoding="utf-8") as file:
        file.write('{"step": 30, "epo')
    log = outputs.MetricsLog.open(tmp_path, from_step=15)
    log.write(step=20, epoch=0, cost=99.0)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / outputs.METRICS).read_text(encoding="utf-8").splitlines()]
    assert [(line["step"], line["name"], line["value"]) for line in lines] == [
        (0, "cost", 0.0),
        (0, "error", 0.5),
        (10, "cost", 10.0),
        (10, "error", 0.5),
        (20, "cost", 99.0),
    ]
    assert all(set(line) == {"step", "epoch", "name", "value", "time"} for line in lines)


def test_a_new_training_starts_new_metrics(tmp_path: Path):
    (tmp_path / outputs.METRICS).write_text('{"step": 3}\nof something else\n', encoding="utf-8")
    outputs.MetricsLog.open(tmp_path, from_step=0).close()
    assert (tmp_path / outputs.METRICS).read_text(encoding="utf-8") == ""
