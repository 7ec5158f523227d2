"""Legs: every combination once, under names that machines take, each told of its settings so that its job hears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.compare import groups, legs, places
from launcher.compare.legs import Axes
from launcher.compare.places import Place
from launcher.domain import ComparisonWish, Device, FloatX, JobSpec, Limits, Requirements
from launcher.errors import SpecError
from launcher.spec import check_legs, comparing, dump, restore
from launcher.spec.legs import SAFE_NAME

BOTH = (Device.CPU, Device.GPU)
SPEC = JobSpec(name="job", argv=("python", "train.py"), workdir=Path("/work"), resources=Requirements(gpu_count=1))
JOBS = replace(SPEC, argv=("python", "-m", "jobs", "train", "mlp"))
ONE = (Place(name="gpu", devices=BOTH),)

settings = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True)
swept = st.from_regex(r"[A-Za-z0-9_.,:+=/-]{1,60}", fullmatch=True)
axes = st.builds(
    Axes,
    devices=st.sampled_from([BOTH, (Device.CPU,), (Device.GPU,)]),
    floatx=st.lists(st.sampled_from(FloatX), min_size=1, unique=True).map(tuple),
    backends=st.lists(st.sampled_from(comparing.BACKENDS), min_size=1, unique=True).map(tuple) | st.just(("",)),
    points=st.lists(
        st.dictionaries(settings, swept, min_size=1, max_size=2).map(lambda each: tuple(each.items())),
        min_size=1, max_size=3, unique=True,
    ).map(tuple),
)  # fmt: skip
several = st.lists(
    st.sampled_from(["g4dn.xlarge", "c7i.4xlarge", "local", "ssh://me@box:22", "ssh://me@box.22"]),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip


@given(axes, several)
def test_every_combination_is_one_leg_with_a_name_that_a_machine_takes(made, where):
    at = tuple(Place(name=name, devices=BOTH) for name in where)
    count = len(made.devices) * len(made.floatx) * len(made.backends) * len(made.points) * len(at)
    if not 2 <= count <= legs.MAX_LEGS:
        with pytest.raises(SpecError):
            legs.legs(SPEC, made, at, repeats=1)
        return
    found = legs.legs(SPEC, made, at, repeats=1)
    names = [each.leg.name for each in found]
    assert len({name.lower() for name in names}) == count
    assert all(SAFE_NAME.fullmatch(name) for name in names)
    ways = {(e.leg.device, e.leg.floatx, e.leg.backend, e.leg.settings, e.leg.place) for e in found}
    assert len(ways) == count
    for group in groups.groups(SPEC, found, repeats=1):
        check_legs(group.spec)
        assert restore(dump(group.spec)) == group.spec


@given(axes)
def test_a_leg_and_its_order_say_the_same(made):
    found = legs.legs(SPEC, replace(made, devices=BOTH), ONE, repeats=1)
    for each in found:
        assert (each.order.name, each.order.device, each.order.floatx) == (
            each.leg.name,
            each.leg.device,
            each.leg.floatx,
        )
        assert each.order.env.get("GPURUN_BACKEND", "") == each.leg.backend
        for name, value in each.leg.settings:
            assert each.order.env[legs.variable(name)] == value
            flag = each.order.argv.index(f"--{name.replace('_', '-')}")
            assert value in each.order.argv[flag + 1 :]


def test_both_devices_of_a_point_stand_next_to_each_other():
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=((("units", "10"),), (("units", "20"),)))
    assert [each.leg.name for each in legs.legs(SPEC, made, ONE, repeats=1)] == [
        "cpu-float32.units=10",
        "gpu-float32.units=10",
        "cpu-float32.units=20",
        "gpu-float32.units=20",
    ]


def test_a_place_is_in_the_name_only_where_a_device_has_several():
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,))
    apart = places.places("local+ssh://me@box:22", BOTH, ())
    assert [each.leg.name for each in legs.legs(SPEC, made, apart, repeats=1)] == ["cpu-float32", "gpu-float32"]
    types = places.places("", BOTH, ("g4dn.xlarge", "g5.xlarge"))
    assert [each.leg.name for each in legs.legs(SPEC, made, types, repeats=1)] == [
        "cpu-float32@g4dn.xlarge",
        "cpu-float32@g5.xlarge",
        "gpu-float32@g4dn.xlarge",
        "gpu-float32@g5.xlarge",
    ]


def test_a_placeholder_in_the_command_is_where_the_value_goes():
    spec = replace(SPEC, argv=("./train", "lr={rate}", "{rate}"))
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=((("rate", "0.1"),),))
    assert legs.legs(spec, made, ONE, repeats=1)[0].order.argv == ("./train", "lr=0.1", "0.1")


def test_the_jobs_hear_of_a_sweep_by_their_environment_alone():
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=((("hidden_units", "20"),),))
    order = legs.legs(JOBS, made, ONE, repeats=1)[0].order
    assert (order.argv, order.env) == ((), {"GPURUN_SETTING_HIDDEN_UNITS": "20"})


def test_several_models_each_have_a_command_of_their_own():
    spec = replace(JOBS, argv=("python", "-m", "jobs", "train", "{model}", "--epochs", "2"))
    made = Axes(devices=(Device.CPU,), floatx=(FloatX.FLOAT32,), models=("mlp", "lenet"))
    found = legs.legs(spec, made, ONE, repeats=1)
    assert [each.order.argv[4:] for each in found] == [("mlp", "--epochs", "2"), ("lenet", "--epochs", "2")]
    assert [each.leg.settings for each in found] == [(("model", "mlp"),), (("model", "lenet"),)]
    assert not any(each.order.env for each in found)


def test_a_script_that_does_not_look_at_the_sweep_is_refused():
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=((("batch_size", "20"),),))
    deaf = replace(SPEC, argv=(), script="python train.py\n")
    with pytest.raises(SpecError, match="GPURUN_SETTING_BATCH_SIZE"):
        legs.legs(deaf, made, ONE, repeats=1)
    legs.legs(replace(deaf, script='python train.py -b "$GPURUN_SETTING_BATCH_SIZE"'), made, ONE, repeats=1)
    legs.legs(replace(deaf, script="python -m jobs train mlp"), made, ONE, repeats=1)


@pytest.mark.parametrize(("repeats", "points"), [(1, 100), (20, 30)])
def test_too_much_is_refused_with_a_way_out(repeats, points):
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=tuple((("n", str(number)),) for number in range(points)))
    with pytest.raises(SpecError, match="are more than") as told:
        legs.legs(SPEC, made, ONE, repeats=repeats)
    assert "--sweep" in told.value.hint


def test_one_leg_is_nothing_to_compare():
    with pytest.raises(SpecError, match="one leg alone") as told:
        legs.legs(SPEC, Axes(devices=(Device.CPU,), floatx=(FloatX.FLOAT32,)), ONE, repeats=3)
    assert "--floatx" in told.value.hint


@pytest.mark.parametrize(
    ("on", "devices", "expected"),
    [
        ("", BOTH, [("gpu", BOTH)]),
        ("same", (Device.CPU,), [("cpu", (Device.CPU,))]),
        ("best", BOTH, [("cpu", (Device.CPU,)), ("gpu", (Device.GPU,))]),
        ("best", (Device.CPU,), [("cpu", (Device.CPU,))]),
        ("local", BOTH, [("local", BOTH)]),
        ("local+aws", BOTH, [("local", (Device.CPU,)), ("gpu", (Device.GPU,))]),
        ("aws+ssh://me@box", BOTH, [("cpu", (Device.CPU,)), ("ssh://me@box", (Device.GPU,))]),
    ],
)
def test_where_the_legs_run(on, devices, expected):
    assert [(place.name, place.devices) for place in places.places(on, devices, ())] == expected


def test_a_type_without_a_gpu_has_no_gpu_legs_and_that_is_told():
    at = places.places("", BOTH, ("g4dn.xlarge", "c7i.4xlarge"))
    kept, told = places.able(at, lambda name: name.startswith("g"))
    assert [(place.name, place.devices) for place in kept] == [("g4dn.xlarge", BOTH), ("c7i.4xlarge", (Device.CPU,))]
    assert told == ("c7i.4xlarge has no GPU: there are no GPU legs on it",)
    with pytest.raises(SpecError, match=r"none of c7i\.4xlarge has a GPU"):
        places.able(places.places("", (Device.GPU,), ("c7i.4xlarge",)), lambda _: False)


def test_a_type_and_a_place_of_ones_own_do_not_go_together():
    with pytest.raises(SpecError, match="--instance-types"):
        places.places("local", BOTH, ("g4dn.xlarge",))


def _groups(spec: JobSpec, on: str) -> tuple[groups.Group, ...]:
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32, FloatX.BFLOAT16))
    return groups.groups(spec, legs.legs(spec, made, places.places(on, BOTH, ()), repeats=2), repeats=2)


def test_each_run_has_its_legs_its_machine_and_its_part_of_the_money():
    spec = replace(
        SPEC,
        resources=Requirements(gpu_kind="t4", gpu_count=1, instance_types=("g4dn.xlarge",), vcpus=2),
        limits=Limits(max_cost_usd=3.0),
        compare=ComparisonWish(title="x"),
    )
    cpu, gpu = _groups(spec, "best")
    assert [leg.name for leg in cpu.spec.legs] == ["cpu-float32", "cpu-bfloat16"]
    assert (cpu.spec.device, gpu.spec.device) == (Device.CPU, Device.GPU)
    assert (cpu.spec.resources.gpu_count, cpu.spec.resources.gpu_kind, cpu.spec.resources.instance_types) == (
        0,
        None,
        (),
    )
    assert (cpu.spec.resources.vcpus, cpu.spec.resources.burstable) == (groups.MIN_CPU_VCPUS, False)
    assert (gpu.spec.resources.gpu_kind, gpu.spec.resources.instance_types) == ("t4", ("g4dn.xlarge",))
    assert [each.spec.limits.max_cost_usd for each in (cpu, gpu)] == [1.5, 1.5]
    assert [each.spec.repeats for each in (cpu, gpu)] == [2, 2]
    assert cpu.spec.compare == ComparisonWish()
    assert (cpu.spec.name, gpu.spec.name) == ("job-compare-cpu", "job-compare-gpu")


def test_ones_own_machine_takes_none_of_the_money():
    local, gpu = _groups(replace(SPEC, limits=Limits(max_cost_usd=3.0)), "local+aws")
    assert (local.place.rented, gpu.spec.limits.max_cost_usd) == (False, 3.0)


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True))
def test_every_name_of_a_job_gives_names_of_runs(name):
    from launcher.spec import values

    for group in _groups(replace(SPEC, name=name), "aws+ssh://some-user@a-host-with-a-long-name.example.org:2222"):
        assert values.name(group.spec.name) == group.spec.name


def test_a_sweep_of_models_is_heard_by_a_script_too():
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=((("model", "a"),), (("model", "b"),)))
    script = replace(SPEC, argv=(), script='python train.py "$GPURUN_SETTING_MODEL"')
    assert [each.order.env["GPURUN_SETTING_MODEL"] for each in legs.legs(script, made, ONE, repeats=1)] == [
        "a", "a", "b", "b",
    ]  # fmt: skip


def test_two_ways_to_write_a_setting_are_one_setting():
    made = Axes(devices=BOTH, floatx=(FloatX.FLOAT32,), points=((("batch-size", "1"), ("batch_size", "2")),))
    with pytest.raises(SpecError, match="batch-size and batch_size are one setting"):
        legs.legs(SPEC, made, ONE, repeats=1)
