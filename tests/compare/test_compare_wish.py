"""What the command line of a comparison means, and what it refuses before anything is begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher import cli
from launcher.commands import comparewish
from launcher.domain import Device, FloatX, JobSpec
from launcher.errors import SpecError

ROOT = Path(__file__).parents[2]
SPEC = JobSpec(name="job", argv=("python", "train.py"), workdir=Path("/work"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "train.py").write_text("print(1)\n")
    return tmp_path


@pytest.fixture
def with_jobs(folder) -> Path:
    (folder / "jobs").mkdir()
    (folder / "jobs" / "catalogue.py").write_text((ROOT / "jobs" / "catalogue.py").read_text())
    return folder


def test_a_script_takes_what_follows_and_runs_on_both_devices(folder):
    spec, models = comparewish.read(["train.py", "--epochs", "2"], {})
    assert (spec.argv, models) == (("python", "train.py", "--epochs", "2"), ())
    made = comparewish.axes(spec, comparewish.wish(spec, comparewish.Flags()), models)
    assert (made.devices, made.floatx) == ((Device.CPU, Device.GPU), (FloatX.FLOAT32,))


def test_models_are_short_for_trainings_of_the_jobs(with_jobs):
    spec, models = comparewish.read(["deck-mlp", "logistic", "--epochs", "2"], {"name": "two"})
    assert (spec.name, spec.argv, models) == (
        "two",
        ("python", "-m", "jobs", "train", "{model}", "--epochs", "2"),
        ("deck-mlp", "logistic"),
    )
    spec, models = comparewish.read(["deck-mlp"], {})
    assert (spec.name, spec.argv, models) == ("deck-mlp", ("python", "-m", "jobs", "train", "deck-mlp"), ())


def test_a_model_that_is_not_there_is_told_with_its_neighbour(with_jobs):
    with pytest.raises(SpecError, match="did you mean 'lenet'"):
        comparewish.read(["lenett"], {})
    with pytest.raises(SpecError, match="twice"):
        comparewish.read(["mlp", "mlp"], {})


def test_a_model_needs_the_jobs(folder):
    with pytest.raises(SpecError, match="no file mlp, and for a model of that name no folder jobs/"):
        comparewish.read(["mlp"], {})


def test_every_flag_that_is_wrong_is_told_at_once():
    flags = comparewish.Flags(
        floatx="float33", devices="cpu,tpu", backend="theano", on="mars", repeat=0, target=-1.0, sweep=("n",)
    )
    with pytest.raises(SpecError) as told:
        comparewish.wish(SPEC, flags)
    assert [problem.partition(":")[0] for problem in told.value.problems] == [
        "--floatx",
        "--devices",
        "--backend",
        "--on",
        "--repeat",
        "--target",
        "--sweep",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.py", "--devices", "cpu"], "one leg alone"),
        (["train.py", "--floatx", "float32,float32"], "twice"),
        (["train.py", "--on", "local", "--sandbox"], "contradict"),
        (["train.py", "--on", "local", "--region", "us-east-1"], "contradict"),
        (["train.py", "--on", "local", "--instance-types", "g5.xlarge"], "--instance-types"),
        (["train.py", "--devices", "gpu", "--instance-types", "c7i.large,c7i.xlarge", "--sandbox"], "has a GPU"),
        (["train.py", "--accept-host-key", "SHA256:x", "--sandbox"], "--accept-host-key"),
        (["train.py", "--on", "local", "--html", "nowhere/page.html"], "--html nowhere/page.html"),
        (["train.py", "--on", "ssh://a b"], "no place"),
        (["train.py", "--sweep", "n=1..200", "--sweep", "m=1..200:1"], "values"),
        (["trian.py"], "there is no script"),
        (["--show", "last"], "no comparison yet"),
        (["--against", "x", "train.py"], "no comparison yet"),
    ],
)
def test_what_is_refused_begins_nothing(folder, capfd, arguments, said):
    assert cli.run(["compare-cpu-gpu", *arguments, "--json"]) == 2
    error = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert said in error["message"]
    assert error["hint"]
    assert not list(folder.glob("runs/*"))
    assert not (folder / "state" / "gpurun" / "sandbox").exists()


def test_nobody_to_ask_buys_nothing(folder, capfd):
    """GPU legs alone, on a machine that has no GPU."""
    arguments = ["train.py", "--on", "local", "--devices", "gpu", "--floatx", "float32,float16"]
    code = cli.run(["compare-cpu-gpu", *arguments])
    told = capfd.readouterr().err
    assert (code, "nvidia-smi shows no GPU" in told) == (2, True)
