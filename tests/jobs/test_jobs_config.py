"""Settings: which of their sources wins, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import catalogue, flags, model_options
from jobs.choice import Choice, number_or_text, parse
from jobs.config import fold_of, resolve
from jobs.errors import JobError
from jobs.optimizers.catalogue import OPTIMIZERS
from jobs.second_order.catalogue import METHODS

WORDS = st.from_regex(r"[a-z][a-z0-9_.-]{0,11}", fullmatch=True).filter(lambda text: text == number_or_text(text))
VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS


@pytest.fixture(autouse=True)
def no_gpurun(monkeypatch: pytest.MonkeyPatch):
    for name in ("DEVICE", "FLOATX", "BACKEND", "DATA_DIR", "OUTPUT_DIR", "CHECKPOINT_DIR"):
        monkeypatch.delenv(f"GPURUN_{name}", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


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


def test_a_sweep_wins_over_everything_and_what_is_no_setting_is_the_models_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GPURUN_SETTING_BATCH_SIZE", "64")
    monkeypatch.setenv("GPURUN_SETTING_KERNELS", "4,10")
    monkeypatch.setenv("GPURUN_SETTING_OPTIMIZER", "momentum,momentum=0.8")
    file = tmp_path / "job.toml"
    file.write_text("batch_size = 5\n[options]\nhidden_units = 30\n", encoding="utf-8")
    config = resolve("lenet", {"batch_size": 3, "options": {"kernels": "2,5"}}, file)
    assert (config.batch_size, config.options["kernels"], config.options["hidden_units"]) == (64, (4, 10), 30)
    assert config.optimizer == Choice("momentum", {"momentum": 0.8})


def test_a_sweep_of_what_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPURUN_SETTING_HIDEN_UNITS", "64")
    with pytest.raises(JobError, match="did you mean 'hidden_units'"):
        resolve("mlp", {}, None)


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
        ({"backend": "theano"}, "backend 'theano' is unknown: expected tensorflow, jax, torch"),
        ({"mode": "FAST"}, "mode 'FAST' is unknown: expected FAST_RUN, FAST_COMPILE, DebugMode, NanGuardMode"),
        ({"inputs": "white"}, "inputs 'white' is unknown: expected plain, standardised, whitened"),
        ({"row_weights": "all"}, "row_weights 'all' is unknown"),
        ({"sampling": "random"}, "sampling 'random' is unknown"),
        ({"penalty": "l2"}, "penalty 'l2' is unknown: expected sum, mean"),
        ({"augment": "shfit"}, "did you mean 'shift'?"),
        ({"hold_out": 1.0}, "hold_out is 1.0: expected a share of the training rows, below 1"),
        ({"hold_out": -0.1}, "hold_out is -0.1: expected a number of at least 0"),
        ({"hold_out": 0.1, "fold": "1/5"}, "hold_out and fold both hold rows out"),
        ({"fold": "6/5"}, "fold is '6/5': expected one of some parts, such as 2/5"),
        ({"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean 'adam'?"),
        ({"optimizer": "momentum=0.9"}, "unknown optimizer 'momentum=0.9'; did you mean 'momentum'?"),
        ({"optimizer": "momentum,momntum=0.9"}, "has no option 'momntum'; did you mean 'momentum'?"),
        ({"optimizer": "momentum,momentum=much"}, "momentum is 'much': expected a number"),
        ({"optimizer": "adam,beta_1"}, "optimizer: 'beta_1' is no option=value"),
        ({"optimizer": "momentum,momentum=0.5,momentum=0.9"}, "an option is said twice"),
        ({"optimizer": ""}, "optimizer is ''"),
        ({"optimizer": ",momentum=0.5"}, "expected a name"),
        ({"optimizer": 7}, "optimizer is 7: expected a name"),
        ({"optimizer": {"momentum": 0.5}}, "expected {name = .., option = ..}"),
        ({"optimizer": "lbfsg"}, "did you mean 'lbfgs'?"),
        ({"schedule": "cosin"}, "did you mean 'cosine'?"),
        ({"early_stopping": "early-1,patience=0"}, "patience is 0: expected a whole number of at least 1"),
        ({"early_stopping": "early"}, "early"),
        ({"weights_formats": "pickle,onnx"}, "expected some of pickle, npz, safetensors"),
        ({"weights_formats": ""}, "weights_formats is ''"),
        ({"tensorboard": "yes"}, "tensorboard is 'yes': expected true or false"),
        ({"checkpoint_every_s": float("inf")}, "checkpoint_every_s is inf"),
        ({"options": {"hiden_units": 3}}, "deck-mlp has no option 'hiden_units'; did you mean 'hidden_units'?"),
        ({"options": {"hidden_units": "many"}}, "hidden_units is 'many': expected something like 300"),
        ({"options": {"hidden_units": 0}}, "hidden_units is 0: expected a whole number of at least 1"),
        ({"options": {"hidden_units": True}}, "hidden_units is True: expected something like 300"),
        ({"options": {"activation": "rleu"}}, "activation is 'rleu': expected relu or tanh"),
        ({"options": 3}, "options is 3: expected a table"),
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


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("logistic", {"a": "1"}, "logistic has no option 'a': it has none"),
        ("mlp", {"dropout": "1"}, "mlp: dropout is 1.0: expected a number of at least 0, below 1"),
        ("mlp", {"dropout": "nan"}, "mlp: dropout is nan"),
        ("cnn", {"kernels": "32,0"}, "cnn: kernels is 0: expected a whole number of at least 1"),
        ("cnn", {"kernels": "32,,64"}, "kernels is '': expected something like 32"),
        ("layered-mlp", {"dropout_kind": "drop"}, "expected none or inverted or p-keep or dropconnect"),
        ("layered-mlp", {"batch_norm": "yes"}, "batch_norm is 'yes': expected something like False"),
        ("layered-mlp", {"initializer": "he"}, "initializer is 'he': expected glorot or "),
        ("dbn", {"hidden_units": ""}, "dbn: hidden_units is empty: expected a whole number of at least 1, or several"),
        ("lenet", {"kernels": ""}, "lenet: kernels is empty: expected a whole number of at least 1, or several"),
        ("key-points", {"hidden_units": []}, "key-points: hidden_units is empty"),
        ("key-points", {"conv_dropout": ""}, "key-points: conv_dropout is empty: expected a number of at least 0"),
        ("key-point-specialists", {"specialist_epochs": "0"}, "specialist_epochs is 0: expected a whole number of at"),
        ("binary", {"positive": "-1"}, "positive is -1: expected a whole number of at least 0"),
        ("ensemble", {"members": "0"}, "members is 0: expected a whole number of at least 1"),
        ("ensemble", {"row_share": "0"}, "row_share is 0.0: expected a number above 0, of at most 1"),
    ],
)
def test_a_models_own_options_that_cannot_be_are_refused(model: str, options: dict[str, str], expected: str):
    with pytest.raises(JobError) as refused:
        resolve(model, {"options": options}, None)
    assert expected in str(refused.value)


def test_a_models_own_options_are_read_as_the_kind_of_thing_that_they_are():
    given = {"hidden_units": " 20 , 10", "dropout": "0", "batch_norm": "True", "dropout_kind": "p-keep"}
    found = resolve("layered-mlp", {"options": given}, None).options
    assert found["hidden_units"] == (20, 10)
    assert (found["dropout"], type(found["dropout"])) == (0.0, float)
    assert (found["batch_norm"], found["dropout_kind"], found["activation"]) == (True, "p-keep", "relu")
    assert resolve("layered-mlp", {"options": {"hidden_units": ""}}, None).options["hidden_units"] == ()
    assert resolve("layered-mlp", {"options": {"hidden_units": 7}}, None).options["hidden_units"] == (7,)


@pytest.mark.parametrize("model", catalogue.MODELS)
def test_every_option_has_a_meaning_and_a_default_that_may_be(model: str):
    for name, default in catalogue.options_of(catalogue.find(model)).items():
        assert model_options.KNOWN[name].meaning
        for each in default if isinstance(default, tuple) else (default,):
            assert model_options.KNOWN[name].allows(each), name
    assert str(model_options.KNOWN["batch_norm"]) == "true or false"
    assert not model_options.KNOWN["batch_norm"].allows(1)


def test_a_config_file_holds_choices_and_the_models_own_options(tmp_path: Path):
    file = tmp_path / "job.toml"
    text = """
        fold = "2/5"
        optimizer = { name = "momentum", momentum = 0.8 }
        schedule = "step,every=3,factor=0.5"
        early_stopping = { name = "since-best", patience = 3 }
        weights_formats = ["npz", "pickle"]
        [options]
        hidden_units = 12
    """
    file.write_text(text, encoding="utf-8")
    config = resolve("deck-mlp", {}, file)
    assert config.optimizer == Choice("momentum", {"momentum": 0.8})
    assert str(config.schedule) == "step,every=3,factor=0.5"
    assert config.early_stopping == parse("early_stopping", "since-best,patience=3")
    assert (config.options["hidden_units"], config.fold) == (12, "2/5")
    assert config.weights_formats == ("npz", "pickle")


@pytest.mark.parametrize("name", [*OPTIMIZERS, *METHODS])
def test_every_optimiser_is_one_that_may_be_named(name: str):
    assert resolve("deck-mlp", {"optimizer": name}, None).optimizer == Choice(name)


@given(WORDS, st.dictionaries(WORDS, VALUES, max_size=4))
def test_a_choice_reads_back_as_it_is_written(name: str, options: dict):
    choice = Choice(name, options)
    found = parse("optimizer", str(choice))
    assert found == choice
    assert [type(value) for value in found.options.values()] == [type(value) for value in options.values()]
    assert parse("optimizer", {"name": name, **{k: v for k, v in options.items() if k != "name"}}).name == name


@given(st.text(max_size=30))
def test_a_choice_is_read_or_refused_whatever_is_written(text: str):
    try:
        found = parse("optimizer", text)
    except JobError:
        return
    assert found.name


@given(st.text(max_size=30))
def test_flags_are_read_or_refused_whatever_is_written(text: str):
    try:
        settings, _ = flags.parse(text)
    except JobError:
        return
    assert settings.keys() <= {"device", "floatx", "mode"}


@given(st.text("0123456789/-+ ²", max_size=7))
def test_a_fold_is_one_of_some_parts_or_refused(text: str):
    try:
        which, folds = fold_of(text)
    except JobError:
        return
    assert 1 <= which <= folds >= 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device=gpu0,floatX=float32,mode=fast_run", {"device": "gpu", "floatx": "float32", "mode": "FAST_RUN"}),
        (" device = cuda1 , floatx=float64 ,", {"device": "gpu", "floatx": "float64"}),
        ("device=cpu,mode=NANGUARDMODE", {"device": "cpu", "mode": "NanGuardMode"}),
        ("mode=DebugMode", {"mode": "DebugMode"}),
        ("", {}),
    ],
)
def test_flags_are_taken_as_theano_took_them(text: str, expected: dict):
    assert flags.parse(text) == (expected, [])


def test_flags_without_effect_are_named():
    assert flags.parse("allow_gc=True,device=gpu,lib.cnmem=0.8") == ({"device": "gpu"}, ["allow_gc", "lib.cnmem"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("devise=gpu", "--flags: 'devise' is unknown; did you mean 'device'?"),
        ("gpu", "--flags: 'gpu' is no name=value"),
        ("device=", "--flags: 'device=' is no name=value"),
        ("mode=FAST", "mode 'FAST' is unknown"),
    ],
)
def test_flags_that_cannot_be_are_refused(text: str, expected: str):
    with pytest.raises(JobError, match=re.escape(expected)):
        flags.parse(text)
