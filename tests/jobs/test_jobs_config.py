"""Settings: which of their sources wins, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.config import resolve
from jobs.errors import JobError


@pytest.fixture(autouse=True)
def no_gpurun(monkeypatch: pytest.MonkeyPatch):
    for name in ("DEVICE", "FLOATX", "DATA_DIR", "OUTPUT_DIR", "CHECKPOINT_DIR"):
        monkeypatch.delenv(f"GPURUN_{name}", raising=False)


def test_without_anything_the_deck_runs_on_the_digits_of_scikit_learn():
    config = resolve("deck-mlp", {}, None)
    assert (config.data.kind, config.device, config.floatx) == ("digits", "cpu", "float32")
    assert (config.output_dir, config.checkpoint_dir) == (Path("output"), None)


def test_other_data_than_the_digits_gets_the_decks_settings(tmp_path: Path):
    (tmp_path / "train.csv").touch()
    config = resolve("deck-mlp", {"data": str(tmp_path)}, None)
    assert (config.epochs, config.batch_size, config.learning_rate, config.l2) == (20, 500, 0.0004, 0.01)
    assert config.print_every == 10


def test_command_line_wins_over_file_over_environment_over_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPURUN_DEVICE", "gpu")
    monkeypatch.setenv("GPURUN_FLOATX", "float64")
    monkeypatch.setenv("GPURUN_OUTPUT_DIR", "from-environment")
    file = tmp_path / "job.toml"
    file.write_text('epochs = 3\nseed = 5\nfloatx = "bfloat16"\n', encoding="utf-8")
    config = resolve("deck-mlp", {"seed": 7, "epochs": None}, file)
    assert (config.seed, config.epochs, config.floatx, config.device) == (7, 3, "bfloat16", "gpu")
    assert config.output_dir == Path("from-environment")
    assert config.learning_rate == resolve("deck-mlp", {}, None).learning_rate


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 0}, "epochs is 0: expected a whole number of at least 1"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"print_every": -1}, "print_every is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "is too large"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"l2": -0.1}, "l2 is -0.1: expected a number of at least 0"),
        ({"device": "tpu"}, "device 'tpu' is unknown: expected cpu, gpu"),
        ({"floatx": "int8"}, "floatx 'int8' is unknown"),
    ],
)
def test_values_that_cannot_be_are_refused(options: dict[str, object], expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        resolve("deck-mlp", options, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch = 3", "unknown setting 'epoch'; did you mean 'epochs'?"),
        ("epochs = '3'", "epochs is '3': expected a whole number"),
        ("epochs = true", "epochs is True: expected a whole number"),
        ("learning_rate = 'fast'", "learning_rate is 'fast': expected a number"),
        ("output_dir = 7", "output_dir is 7: expected a folder's name"),
        ("data = 7", "no data is named"),
        ("epochs =", "is no TOML"),
    ],
)
def test_config_files_that_cannot_be_are_refused(tmp_path: Path, text: str, expected: str):
    file = tmp_path / "job.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=re.escape(expected)):
        resolve("deck-mlp", {}, file)


def test_a_config_file_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(JobError, match=r"cannot read the config file .*gone\.toml"):
        resolve("deck-mlp", {}, tmp_path / "gone.toml")


def test_an_unknown_model_gets_the_nearest_name():
    with pytest.raises(JobError, match=r"unknown model 'deck_mlp'; did you mean 'deck-mlp'\?"):
        resolve("deck_mlp", {}, None)
