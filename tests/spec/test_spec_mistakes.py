"""What is wrong is told all at once, each with its place and what is expected."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher import spec
from launcher.domain import JobSpec
from launcher.errors import SpecError


def test_all_mistakes_come_at_once_in_the_order_of_the_file(mistakes):
    assert mistakes("""\
nme: x
name: Bad Name
run: [python, trian.py]
device: gqu
env:
  1B: x
  GPURUN_X: 1
  NOTHING:
resources:
  gpu: {kind: t4, cuont: 2, count: -1}
  vcpus: two
  regions: [us-east-1, mars]
  spot: maybe
limits: 3
run: x
""") == [
        "1:1: nme: unknown field (did you mean 'name'?)",
        "2:7: name: 'Bad Name' is not a name, expected up to 41 of a-z, 0-9 and '-', such as 'bad-name'",
        "4:9: device: 'gqu' is not known (did you mean 'gpu'?), expected cpu or gpu",
        "6:3: env.1B: '1B' cannot name a variable, expected letters, digits and '_', such as EPOCHS",
        "7:3: env.GPURUN_X: 'GPURUN_X' is set by gpurun itself, expected another name",
        "8:3: env.NOTHING: nothing is not text, expected one value (quote it; '' for none)",
        "10:19: resources.gpu.cuont: unknown field (did you mean 'count'?)",
        "10:36: resources.gpu.count: -1 is not a count, expected a whole number from 0, such as 1",
        "11:10: resources.vcpus: 'two' is not a count, expected a whole number from 0, such as 1",
        "12:24: resources.regions[1]: 'mars' is not valid, expected a region such as us-east-1",
        "13:9: resources.spot: 'maybe' is not known, expected true, false or prefer",
        "14:9: limits: not a mapping, expected a mapping of max_hours, max_cost, max_price, "
        "max_restarts",
        "15:1: run: given twice, first on line 3; expected once",
    ]  # fmt: skip


ONE_MISTAKE = {
    "resources: {gpu: 0}\nrun: x": "1:12: resources: no GPU is asked for, but the device is gpu; expected",
    "device: cpu": "1:1: run: missing, expected a script or a list",
    "run:": "1:1: run: missing, expected",
    "run: []": "1:6: run: a list cannot be run, expected",
    "run: ''": "1:6: run: '' cannot be run, expected",
    "run: [[x]]": "1:6: run: a list cannot be run",
    "run: {a: b}": "1:6: run: a mapping cannot be run",
    "run: ['', x]": "1:6: run: a list cannot be run",
    'run: "a\\0b"': "1:6: run: a NUL character",
    "run: [python, nowhere.py]": "1:6: run: there is no nowhere.py in ",
    "run: x\nworkdir: nowhere": "2:10: workdir: ",
    "run: x\nworkdir: gpurun.yaml": "is not a folder, expected an existing folder",
    "run: x\nworkdir: [a]": "2:10: workdir: a list is not text, expected a path",
    "run: x\ndata: nowhere": "does not exist, expected a file or folder",
    "run: x\ndata: gpurun.yml": "does not exist (did you mean 'gpurun.yaml'?), expected",
    "run: x\ndata: ~nobody-of-that-name/x": "has no home folder",
    "run: x\ndata: gpurun.yaml/below": "cannot be reached (Not a directory)",
    "run: x\ndata: 's3://B'": "expected an address such as s3://bucket/prefix",
    f"run: x\ndata: {'x' * 5000}": "cannot be reached (File name too long)",
    "run: x\nenv: [A]": "2:6: env: not a mapping, expected a mapping of `name: value` lines",
    "run: x\nenv: {A: [1]}": "2:10: env.A: a list is not text",
    "run: x\nenv: {'A=B': 1}": "env.A=B: 'A=B' cannot name a variable",
    "run: x\nsecrets: [NOT_SET_ANYWHERE]": "2:11: secrets[0]: NOT_SET_ANYWHERE is not set here, expected it in the",
    "run: x\nsecrets: [a b]": "'a b' cannot name a variable",
    "run: x\nsecrets: {A: 1}": "secrets[0]: a mapping is not text",
    "run: x\nfloatx: float8": "'float8' is not known (did you mean 'float",
    "run: x\nresources: {gpu: []}": "2:18: resources.gpu: a list is not a GPU",
    "run: x\nresources: {gpu: 't4:many'}": "'t4:many' is not a GPU, expected one such as t4, a10g:2",
    "run: x\nresources: {gpu: true}": "true is not a GPU",
    "run: x\nresources: {gpu: -1}": "2:18: resources.gpu.count: -1 is not a count",
    "run: x\nresources: {gpu: {kind: 4}}": "2:25: resources.gpu.kind: 4 is not text",
    "run: x\nresources: {vcpus: 1.5}": "1.5 is not a count",
    "run: x\nresources: {vcpus: true}": "true is not a count",
    "run: x\nresources: {memory: 16 parsecs}": "'16 parsecs' is not a size, expected one such as 16 GiB",
    "run: x\nresources: {memory: 0 GiB}": "'0 GiB' is not a size",
    "run: x\nresources: {memory: .inf}": "inf is out of range",
    "run: x\nresources: {disk: 0}": "0 is out of range",
    "run: x\nresources: {disk: 1e300}": "1e+300 is out of range",
    "run: x\nresources: {disk: 65537}": "is too large, expected at most 65536 GiB",
    f"run: x\nresources: {{memory: 1{'0' * 400}}}": "is out of range",
    "run: x\nresources: {disk: 100 TB}": "'100 TB' is too large, expected at most 65536 GiB",
    "run: x\nresources: {instance_types: [large]}": "resources.instance_types[0]: 'large' is not valid",
    "run: x\nresources: {regions: [us-east-1a]}": "'us-east-1a' is not valid, expected a region",
    "run: x\nresources: {zones: [us-east-1]}": "'us-east-1' is not valid, expected an availability zone",
    "run: x\nresources: {regions: [eu-west-1], zones: [us-east-1a]}": "2:42: resources.zones: us-east-1a lies outside",
    "run: x\nresources: {image: 'ami-xyz'}": "'ami-xyz' names no image, expected an AMI id",
    "run: x\nresources: {image: 'ssm:nopath'}": "'ssm:nopath' names no image",
    "run: x\nlimits: {max_hours: 0}": "2:21: limits.max_hours: 0 is out of range, expected a number above 0",
    "run: x\nlimits: {max_hours: -1}": "-1 is out of range",
    "run: x\nlimits: {max_hours: .nan}": "nan is out of range",
    "run: x\nlimits: {max_hours: 720.5}": "720.5 is out of range, expected a number above 0 and at most 720 hours (30",
    f"run: x\nlimits: {{max_hours: 1{'0' * 400}}}": "is out of range",
    "run: x\nlimits: {max_cost: .inf}": "inf is out of range",
    "run: x\nlimits: {max_cost: 1000001}": "expected a number above 0 and at most 1000000 US dollars",
    "run: x\nlimits: {max_price: 1e300}": "expected a number above 0 and at most 10000 US dollars an hour",
    "run: x\nkeep_on_failure: 30d 1s": "'30d 1s' is too long, expected at most 720h (30 days)",
    "run: x\nkeep_on_failure: 999999d": "is too long",
    "run: x\nlimits: {max_cost: '5 USD'}": "'5 USD' is not a number",
    "run: x\nlimits: {max_price: true}": "true is not a number",
    "run: x\nlimits: {max_hour: 1}": "2:10: limits.max_hour: unknown field (did you mean 'max_hours'?)",
    "run: x\noutputs: gpurun.yaml": "2:10: outputs: ",
    "run: x\noutputs: gpurun.yaml/a/b": "gpurun.yaml is not a folder, so ",
    "run: x\noutputs: s3://Big_Bucket/x": "'s3://Big_Bucket/x' is not valid, expected an address",
    "run: x\noutputs: s3://bucket/a//b": "'a//b' is no prefix for results",
    "run: x\noutputs: s3://bucket/a/../b": "'a/../b' is no prefix for results",
    "run: x\noutputs: s3://bucket/$x": "'$x' is no prefix for results",
    "run: x\noutputs: s3://a..b/x": "'a..b' names no bucket",
    f"run: x\noutputs: s3://bucket/{'x' * 300}": "the prefix is too long",
    "run: x\noutputs: /proc/results": "2:10: outputs: /proc/results cannot be written to (",
    f"run: x\noutputs: {'x' * 300}": "cannot be written to (File name too long), expected a folder",
    "run: x\ncheckpoint: 1": "1 is neither, expected true or false",
    "run: x\nkeep_on_failure: true": "true is not a duration",
    "run: x\nkeep_on_failure: 30": "30 is not a duration, expected one such as 30m",
    "run: x\nkeep_on_failure: ''": "'' is not a duration",
    "run: x\nssh: {user: -oProxyCommand=x}": "is not valid, expected a user such as ubuntu",
    "run: x\nssh: {proxy: -oProxyCommand=x}": "is not a host, expected one as `ssh -J` takes it",
    "run: x\nssh: {key: nokey}": "nokey does not exist, expected an existing file",
    "run: x\nssh: {key: .}": "is a folder, expected an existing file",
    "run: x\nzzz: 1": "2:1: zzz: unknown field, expected one of name, workdir, run, data, env, secrets, device",
    "run: x\nresources: {<<: {vcpus: 1}}": "resources.<<: unknown field",
    "run: x\nenv: {[a]: 1}": "2:7: env.?: a field's name is not text",
    "run: !!python/object/apply:os.system [id]": "1:6: run: the YAML tag 'python/object/apply:os.system' is not known",
    "run: !custom x": "1:6: run: the YAML tag '!custom' is not known",
}


@pytest.mark.parametrize("text", ONE_MISTAKE)
def test_one_mistake_is_told_in_one_line(mistakes, text):
    (problem,) = mistakes(text)
    assert ONE_MISTAKE[text] in problem


BAD_YAML = {
    b"run: x\n\tdevice: cpu": "2:1: yaml: a tab, expected spaces for indentation",
    b"": "1:1: yaml: the file is empty, expected fields such as",
    b"# only a remark\n": "1:1: yaml: the file is empty",
    b"- a\n- b": "1:1: yaml: not a mapping, expected fields",
    b"just text": "1:1: yaml: not a mapping, expected fields",
    b"run: x\n---\nrun: y": "3:1: yaml: a second YAML document, expected one",
    b"run: \xff": "1:6: yaml: byte 0xff is not UTF-8, expected the file saved as UTF-8",
    b"run: x\nname: \xc3\xa9 \xe9": "2:9: yaml: byte 0xe9 is not UTF-8",
    b"run: x\x01": "1:7: yaml: control character U+0001",
    b"run: [a, b": "1:11: yaml: ",
    b"run: 'a": "1:8: yaml: ",
    b"run: a: b": "1:7: yaml: ",
    b"run: *nowhere": "1:6: yaml: found undefined alias",
    b"run: x\nenv: &x {a: *x}": "1:1: yaml: too many values or levels",
    b"run: " + b"[" * 4000: "1:1: yaml: nested too deeply",
    b"run: x\nenv: " + b"{a: " * 30 + b"1" + b"}" * 30: "1:1: yaml: too many values or levels",
    b"#" * (2 << 20): "1:1: yaml: larger than 1048576 bytes",
}


@pytest.mark.parametrize("text", BAD_YAML, ids=range(len(BAD_YAML)))
def test_what_is_no_yaml_is_told_with_its_place(mistakes, text):
    (problem,) = mistakes(text)
    assert problem.startswith(BAD_YAML[text])


def test_a_few_lines_that_stand_for_billions_are_refused(mistakes):
    lines = ["run: x", "env:", "  a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"  {name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    (problem,) = mistakes("\n".join(lines))
    assert problem.startswith("1:1: yaml: too many values or levels (aliases expanded)")


def test_a_name_in_both_env_and_secrets_is_refused(mistakes, monkeypatch):
    monkeypatch.setenv("BOTH", "x")
    (problem,) = mistakes("run: x\nenv: {BOTH: 1}\nsecrets: [BOTH]")
    assert problem == "3:10: secrets: BOTH is in env too, expected it in one of them"


def test_the_value_of_a_secret_is_never_in_a_message(mistakes, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter2")
    problems = mistakes("run: x\nsecrets: [MY_SECRET, MY_SECRETS]\nnme: x")
    assert "hunter2" not in str(problems)


field_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
known_fields = st.sampled_from(list(spec.json_schema()["properties"]))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(known_fields | st.text(max_size=6), field_texts, max_size=6))
def test_any_values_give_a_job_or_told_mistakes(folder, values):
    (folder / "gpurun.yaml").write_text(json.dumps(values), encoding="utf-8")
    assert_told_or_loaded(folder / "gpurun.yaml")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=80) | st.text("ab:-[]{}#&*!|>'\"%@`,? \n\t0", max_size=60).map(str.encode))
def test_any_bytes_give_a_job_or_told_mistakes(folder, data):
    (folder / "gpurun.yaml").write_bytes(data)
    assert_told_or_loaded(folder / "gpurun.yaml")


def assert_told_or_loaded(path: Path) -> None:
    problems = ()
    try:
        assert isinstance(spec.load(path), JobSpec)
    except SpecError as error:
        problems = error.problems or ("told nothing",)
    assert all(re.match(r"[^:]*gpurun.yaml:\d+:\d+: .*: .", line, re.DOTALL) for line in problems)
