"""A job survives as text, the schema agrees with the loader, and the template loads."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from launcher import spec
from launcher.domain import (
    CitedLeg,
    ComparisonWish,
    Device,
    FloatX,
    JobSpec,
    Limits,
    Requirements,
    SpotPolicy,
    SshOptions,
)
from launcher.errors import SpecError
from launcher.spec.values import slug

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
filled = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
paths = filled.map(lambda text: Path("/", text))
money = st.none() | st.floats(0.001, 1e6)
lists = st.lists(filled, max_size=3).map(tuple)
pairs = st.lists(st.tuples(filled, filled), max_size=3).map(tuple)

jobs = st.builds(
    JobSpec,
    name=filled,
    argv=lists,
    script=texts,
    workdir=paths,
    data=st.none() | paths | texts.map("s3://bucket/".__add__),
    env=st.dictionaries(filled, texts, max_size=3),
    secrets=lists,
    device=st.sampled_from(Device),
    floatx=st.sampled_from(FloatX),
    resources=st.builds(
        Requirements,
        gpu_kind=st.none() | filled, gpu_count=st.integers(0, 16), gpu_memory_bytes=st.integers(0, 2**60),
        vcpus=st.integers(0, 999), memory_bytes=st.integers(0, 2**60), instance_types=lists, regions=lists,
        zones=lists, spot=st.sampled_from(SpotPolicy), disk_gib=st.integers(1, 65536), image=texts,
    ),
    limits=st.builds(
        Limits, max_hours=st.floats(0.001, 1e6), max_cost_usd=money, max_price_usd_per_hour=money
    ),
    outputs=st.none() | paths | st.just("s3://bucket/some/prefix"),
    checkpoint=st.booleans(),
    keep_on_failure_s=st.floats(0, 1e6),
    ssh=st.builds(
        SshOptions, user=filled, key=st.none() | paths, config_file=st.none() | paths, proxy=st.none() | filled
    ),
    compare=st.builds(
        ComparisonWish, title=texts, devices=st.lists(st.sampled_from(Device)).map(tuple), on=texts, backends=lists,
        repeats=st.none() | st.integers(1, 9), target=money, points=st.lists(pairs).map(tuple), cited=pairs,
        cited_legs=st.lists(st.builds(
            CitedLeg, device=st.sampled_from(Device), floatx=st.none() | st.sampled_from(FloatX), settings=pairs,
            train_s=money, error=money, by=texts,
        ), max_size=2).map(tuple),
    ),
)  # fmt: skip


@given(jobs)
def test_every_job_survives_as_text(job):
    restored = spec.restore(spec.dump(job))
    assert restored == job
    assert type(restored.data) is type(job.data)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"name": 1}'])
def test_anything_else_is_refused(text):
    with pytest.raises(SpecError, match="stored spec cannot be read"):
        spec.restore(text)


def checked(text: str) -> None:
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), spec.json_schema(), jsonschema.Draft202012Validator)


def test_the_schema_is_of_the_draft_it_names():
    schema = spec.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(spec.schema_json()) == schema


def test_every_field_is_described_for_editors():
    schema = spec.json_schema()
    tables = [schema, *schema["$defs"].values()]
    fields = {name: field for table in tables for name, field in table["properties"].items()}
    assert len(fields) > 25
    assert [name for name, field in fields.items() if not field.get("description")] == []


@pytest.mark.parametrize(
    "text",
    [
        "run: x",
        "run: [python, -c, 'print(1)', 2, 1.5, true]",
        "run: x\nenv: {A: 1, B: 1.5, C: true, D: text}",
        "run: x\nresources: {gpu: t4, spot: prefer, disk: 100}",
        "run: x\nresources: {gpu: 'a10g:2', spot: true, disk: 100 GiB}",
        "run: x\nresources: {gpu: 2, spot: false, memory: 16 GiB, regions: us-east-1}",
        "run: x\ndevice: cpu\nresources: {gpu: false}",
        "run: x\nresources: {gpu: {kind: t4, count: 1, memory: 16 GiB}, instance_types: [g5.xlarge]}",
        "run: x\nlimits: {max_hours: 1, max_cost: 2.5}\nkeep_on_failure: 30m\ncheckpoint: false",
        "run: x\nkeep_on_failure: false\nssh: {user: ubuntu}",
    ],
)
def test_what_loads_is_right_by_the_schema(load, text):
    load(text)
    checked(text)


@pytest.mark.parametrize(
    "text",
    [
        "device: cpu", "run: ''", "run: x\nnme: x", "run: x\nname: Bad Name", "run: x\ndevice: gqu",
        "run: x\nresources: {spot: maybe}", "run: x\nlimits: {max_hours: 0}", "run: x\nlimits: {max_hours: 1000}",
        "run: x\nresources: {vcpus: -1}", "run: x\ncheckpoint: maybe", "run: x\nenv: {A: [1]}",
        "run: x\nresources: {gpu: true}",
    ],
)  # fmt: skip
def test_what_the_schema_can_see_is_wrong_by_both(mistakes, text):
    assert mistakes(text)
    with pytest.raises(jsonschema.ValidationError):
        checked(text)


@pytest.mark.parametrize("name", ["digits", "My Project!", "", "2026", "true", "null", "1e3", "x" * 200, "a: b\n# c"])
def test_the_template_loads_as_it_stands(load, name):
    text = spec.template(name)
    found = load(text)
    assert found.name == slug(name)
    assert found.script.startswith("echo")
    checked(text)


def test_the_template_shows_every_field():
    schema = spec.json_schema()
    shown = spec.template("x")
    for table in [schema, *(schema["$defs"][name] for name in ("ResourceFields", "LimitFields", "SshFields"))]:
        for field in table["properties"]:
            assert f"{field}:" in shown


def test_the_template_with_every_field_switched_on_loads_as_well(load, folder, monkeypatch):
    """What users do: take the `# ` away before a field."""
    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("data", ".ssh"):
        (folder / name).mkdir()
    for name in (".ssh/id_ed25519", ".ssh/config"):
        (folder / name).write_text("x")
    text, count = re.subn(r"(?m)^( *)# ( *[A-Za-z_]+:)", r"\1\2", spec.template("digits"))
    found = load(text)
    assert count == 36
    assert (found.data, found.outputs, found.secrets) == (folder / "data", folder / "results", ("WANDB_API_KEY",))
    assert (found.env, found.keep_on_failure_s) == ({"EPOCHS": "20"}, 1800)
    assert (found.resources.gpu_kind, found.resources.zones) == ("t4", ("us-east-1a",))
    assert (found.limits.max_cost_usd, found.limits.max_price_usd_per_hour) == (2.5, 0.6)
    assert (found.ssh.key, found.ssh.proxy) == (folder / ".ssh/id_ed25519", "me@bastion")
