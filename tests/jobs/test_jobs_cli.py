"""The command line, as far as it goes without Keras."""

from __future__ import annotations

import re

import pytest

from jobs import catalogue
from jobs.cli import main


@pytest.fixture(autouse=True)
def no_gpurun(monkeypatch: pytest.MonkeyPatch, tmp_path):
    for name in ("DEVICE", "FLOATX", "BACKEND", "DATA_DIR", "OUTPUT_DIR", "CHECKPOINT_DIR"):
        monkeypatch.delenv(f"GPURUN_{name}", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.chdir(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a mistake is told with: one line, nothing else, status 2."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_list_names_every_model(capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(catalogue.MODELS)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("model", list(catalogue.MODELS))
def test_describe_tells_source_options_and_settings(capsys: pytest.CaptureFixture[str], model: str):
    assert main(["describe", model]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{model}: ")
    assert "Source" in text
    for name in catalogue.options_of(catalogue.find(model)):
        assert re.search(rf"^Option {name}, by default .*: \w.*$", text, re.MULTILINE)  # what it means comes last
    assert "\nSettings, unless the data have their own:\n  epochs = " in text


def test_no_command_imports_keras_to_complain_or_describe(jobs):
    program = """
import sys
from jobs.cli import main
main(["describe", "deck-mlp"])
main(["list"])
main(["train", "deck-mlp", "--epochs", "0"])
main(["evaluate", "gone.pkl"])
sys.exit(any(name in sys.modules for name in ("keras", "tensorflow", "jax", "torch")))
"""
    done = jobs.run(program=("-c", program))
    assert done.returncode == 0, done.stderr
    assert "learning_rate = 0.0004" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "deck-mpl"], "unknown model 'deck-mpl'; did you mean 'deck-mlp'?"),
        (["train", "deck-mlp", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "deck-mlp", "--epochs", "0"], "epochs is 0: expected a whole number of at least 1"),
        (["train", "deck-mlp", "--learnig-rate", "1"], "unrecognized arguments: --learnig-rate 1"),
        (["train", "deck-mlp", "--data", "nowhere"], "nowhere does not exist: expected `digits`"),
        (["train", "deck-mlp", "--device", "tpu"], "device 'tpu' is unknown: expected cpu, gpu"),
        (["train", "deck-mlp", "--set", "hidden_units"], "--set hidden_units: expected NAME=VALUE"),
        (["train", "deck-mlp", "--set", "=3"], "--set =3: expected NAME=VALUE"),
        (["train", "deck-mlp", "--set", "hidden-unit=3"], "has no option 'hidden_unit'; did you mean 'hidden_units'?"),
        (["train", "logistic", "--set", "a=3"], "logistic has no option 'a': it has none"),
        (["train", "deck-mlp", "--flags", "device=tpu"], "device 'tpu' is unknown"),
        (["train", "deck-mlp", "--flags", "floatx=int8"], "floatx 'int8' is unknown"),
        (["train", "deck-mlp", "--flags", "device"], "--flags: 'device' is no name=value"),
        (["train", "deck-mlp", "--optimizer", "adma"], "unknown optimizer 'adma'; did you mean 'adam'?"),
        (["train", "deck-mlp", "--fold", "0/5"], "fold is '0/5': expected one of some parts, such as 2/5"),
        (["train", "deck-mlp", "--config", "gone.toml"], "cannot read the config file gone.toml"),
        (["describe", "lenett"], "unknown model 'lenett'; did you mean 'lenet'?"),
        (["describe", "resnet-152"], "unknown model 'resnet-152'"),
        (["evaluate", "gone.pkl"], "cannot read gone.pkl: No such file or directory"),
        (["trials", "gone.txt"], "cannot read the trials in gone.txt: No such file or directory"),
        (["trials", "gone.txt", "--parallel", "0"], "'0' is no whole number of at least 1"),
        (["cross-validate", "logistic", "--folds", "1"], "1 folds: expected at least 2"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_mistakes_are_told_in_one_line_with_status_2(capsys: pytest.CaptureFixture[str], arguments, expected: str):
    assert expected in told(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n# nothing\n\n", "trials.txt holds no trial"),
        ("logistic --seed 1\n\nlogistc --seed 2\n", "trials.txt:3: unknown model 'logistc'; did you mean 'logistic'?"),
        ("logistic --seeed 1\n", "trials.txt:1: unrecognized arguments: --seeed 1"),
        ("logistic --seed '1\n", "trials.txt:1: No closing quotation"),
        ("logistic --backend jax\nlogistic\n", "the trials have several backends, jax, tensorflow: one run serves one"),
        ("logistic --device gpu\nlogistic\n", "the trials have several devices, cpu, gpu: one run serves one"),
    ],
)
def test_trials_that_cannot_be_are_told_before_any_runs(
    capsys: pytest.CaptureFixture[str], tmp_path, text: str, expected: str
):
    (tmp_path / "trials.txt").write_text(text, encoding="utf-8")
    assert expected in told(capsys, "trials", "trials.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["trials.txt"]


def test_environment_with_a_mistake_is_told_as_an_option_would_be(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPURUN_FLOATX", "float8")
    assert "floatx 'float8' is unknown" in told(capsys, "train", "deck-mlp")


def test_a_backend_that_is_not_installed_is_told_with_how_to_get_it(jobs):
    program = "import sys; sys.modules['torch'] = None; from jobs.cli import main; sys.exit(main(sys.argv[1:]))"
    done = jobs.run("train", "logistic", "--backend", "torch", program=("-c", program))
    assert done.returncode == 2, done.stderr
    assert "error: torch is not installed: pip install 'gpurun-launcher[torch]'" in done.stderr
    assert "Traceback" not in done.stderr
