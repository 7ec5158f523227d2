"""The command line, as far as it goes without TensorFlow."""

from __future__ import annotations

import pytest


def test_list_names_every_model(jobs):
    done = jobs.run("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["deck-mlp", "logistic"]


def test_describe_tells_source_and_settings_without_importing_tensorflow(jobs):
    program = "import sys; from jobs.cli import main; main(sys.argv[1:]); sys.exit('tensorflow' in sys.modules)"
    done = jobs.run("describe", "deck-mlp", program=("-c", program))
    assert done.returncode == 0, done.stderr
    assert "Source: the course deck" in done.stdout
    assert "learning_rate=0.0004" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "deck-mpl"], "unknown model 'deck-mpl'; did you mean 'deck-mlp'?"),
        (["train", "deck-mlp", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "deck-mlp", "--epochs", "0"], "epochs is 0: expected a whole number of at least 1"),
        (["train", "deck-mlp", "--learnig-rate", "1"], "unrecognized arguments: --learnig-rate 1"),
        (["train", "deck-mlp", "--data", "nowhere"], "nowhere does not exist: expected `digits`"),
        (["train", "deck-mlp", "--device", "tpu"], "device 'tpu' is unknown: expected cpu, gpu"),
        (["describe", "lenet"], "unknown model 'lenet': expected one of deck-mlp, logistic"),
        (["evaluate", "gone.pkl"], "cannot read gone.pkl: No such file or directory"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_mistakes_are_told_in_one_line_with_status_2(jobs, arguments: list[str], expected: str):
    done = jobs.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_environment_with_a_mistake_is_told_as_an_option_would_be(jobs):
    done = jobs.run("train", "deck-mlp", GPURUN_FLOATX="float8")
    assert done.returncode == 2
    assert "floatx 'float8' is unknown" in done.stderr
