"""Where along a sweep the GPU begins to pay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launcher.compare.crossings import crossing, crossings, swept
from launcher.comparison import LegResult, Spread, SweepPoint
from launcher.domain import Device, FloatX
from tests.compare import samples


def legs(
    seconds: dict[float, tuple[float, float]],
    *,
    noise: float = 0.0,
    repeats: int = 3,
    price: tuple[float, float] = (1.0, 1.0),
    floatx: FloatX = FloatX.FLOAT32,
    **other: str,
) -> list[LegResult]:
    """(CPU's, GPU's) seconds of training by the value of batch_size, of which all the process's time consists."""
    found = []
    for value, both in seconds.items():
        for device, train_s, usd in zip(Device, both, price, strict=True):
            of = samples.leg(device, floatx, batch_size=f"{value:g}", **other)
            trials = []
            for repeat in range(1, repeats + 1):
                noisy_s = train_s * (1 + noise * (repeat - (repeats + 1) / 2))
                base = samples.trial(of, repeat, 1.0)
                assert base.usage is not None
                trials.append(replace(base, train_s=noisy_s, usage=replace(base.usage, elapsed_s=noisy_s)))
            found.append(samples.result(of, trials, run=f"{device}-run", price=usd))
    return found


def point(at: float, advantage: float, scatter: float = 1.0, count: int = 3) -> SweepPoint:
    cpu = Spread(median=advantage, least=advantage, most=advantage, count=count)
    gpu = Spread(median=1.0, least=1.0, most=1.0, count=count)
    return SweepPoint(at=at, cpu=cpu, gpu=gpu, advantage=advantage, least=advantage / scatter, most=advantage * scatter)


def test_it_lies_where_both_take_as_long_and_dollars_move_it():
    # The CPU's seconds are the value, the GPU's are always 100; its hour costs four times as much.
    found = crossings(legs({10: (10, 100), 1000: (1000, 100)}, price=(1.0, 4.0)))
    assert [(each.what, each.above, each.always) for each in found] == [("seconds", True, ""), ("usd", True, "")]
    assert found[0].value == pytest.approx(100)
    assert found[1].value == pytest.approx(400)
    assert [each.at for each in found[0].points] == [10, 1000]
    assert found[0].uncertain == ""


@pytest.mark.parametrize(("cpu_s", "ahead"), [(500, "gpu"), (20, "cpu")])
def test_where_one_is_ahead_everywhere_it_is_said_who(cpu_s, ahead):
    (found, _) = crossings(legs({10: (cpu_s, 100), 20: (cpu_s, 100)}))
    assert (found.value, found.always, found.uncertain) == (None, ahead, "")


def test_noise_makes_it_uncertain_with_its_bounds():
    (found, _) = crossings(legs({10: (10, 100), 90: (90, 100), 1000: (1000, 100)}, noise=0.1))
    assert found.value is not None
    assert found.least is not None
    assert found.most is not None
    assert found.least < found.value < found.most
    assert "at 90 the trials disagree on who is ahead" in found.uncertain


def test_one_measurement_is_never_certain():
    (found, _) = crossings(legs({10: (10, 100), 1000: (1000, 100)}, repeats=1))
    assert "measured once" in found.uncertain
    (found, _) = crossings(legs({10: (10, 100), 1000: (11, 100)}, repeats=1))
    assert "measured once" in found.uncertain


def test_a_lead_that_changes_often_is_said_so():
    found = crossing("batch_size", "seconds", [point(1, 0.5), point(2, 2), point(4, 0.5), point(8, 2)])
    assert found.value == pytest.approx(2**0.5)
    assert found.uncertain.startswith("the lead changes 3 times")


def test_the_gpu_may_pay_up_to_a_value():
    found = crossing("batch_size", "seconds", [point(1, 4), point(16, 0.25)])
    assert (found.value, found.above) == (pytest.approx(4), False)


def test_each_type_has_its_curve_and_what_is_no_number_has_none():
    both = legs({10: (10, 100), 1000: (1000, 100)})
    both += legs({10: (10, 50), 1000: (1000, 50)}, floatx=FloatX.BFLOAT16)
    assert [(each.series, each.what) for each in crossings(both)] == [
        ("float32", "seconds"),
        ("float32", "usd"),
        ("bfloat16", "seconds"),
        ("bfloat16", "usd"),
    ]
    words = [replace(leg, leg=replace(leg.leg, settings=(("kernels", "2,5"),))) for leg in both]
    assert crossings(words) == ()
    assert crossings(legs({10: (10, 100)})) == ()


def test_a_setting_that_goes_along_with_another_is_no_axis_of_its_own():
    both = legs({10: (10, 100)}, epochs="5") + legs({1000: (1000, 100)}, epochs="9")
    assert swept(both) == ("batch_size",)
    assert [each.value for each in crossings(both)] == [pytest.approx(100)] * 2


def test_of_several_machines_the_quicker_one_stands_for_seconds_and_the_cheaper_one_for_dollars():
    quick = legs({10: (10, 100), 1000: (1000, 100)}, price=(1.0, 10.0))
    slow = [each for each in legs({10: (10, 200), 1000: (1000, 200)}) if each.leg.device is Device.GPU]
    slow = [replace(each, leg=replace(each.leg, name=f"{each.leg.name}@slow")) for each in slow]
    seconds, usd = crossings(quick + slow)
    assert seconds.value == pytest.approx(100)
    assert usd.value == pytest.approx(200)


def test_where_one_trial_does_not_tell_its_training_all_are_compared_by_their_processes():
    both = legs({10: (10, 100), 1000: (1000, 100)})
    silent = replace(both[0], trials=(replace(both[0].trials[0], train_s=None), *both[0].trials[1:]))
    longer = [
        replace(leg, trials=tuple(replace(each, train_s=each.train_s and each.train_s * 7) for each in leg.trials))
        for leg in (silent, *both[1:])
        if leg.leg.device is Device.CPU
    ]
    (found, _) = crossings([*longer, *(leg for leg in both if leg.leg.device is Device.GPU)])
    assert found.value == pytest.approx(100)


curves = st.lists(
    st.tuples(st.floats(0, 1e9), st.floats(1e-6, 1e6)), min_size=2, max_size=12, unique_by=lambda each: each[0]
)


@given(curve=curves, scatter=st.floats(1, 3), count=st.integers(1, 4))
def test_it_always_lies_between_points_that_disagree(curve, scatter, count):
    points = [point(at, advantage, scatter, count) for at, advantage in sorted(curve)]
    assume(len({each.at for each in points}) == len(points))
    found = crossing("x", "seconds", points)
    ahead = [each.advantage > 1 for each in points]
    if found.value is None:
        assert len(set(ahead)) == 1
        assert found.always == ("gpu" if ahead[0] else "cpu")
    else:
        change = next(index for index in range(len(ahead)) if ahead[index] != ahead[index + 1])
        assert points[change].at <= found.value <= points[change + 1].at
        assert found.above is ahead[change + 1]
    assert found.uncertain or (count > 1 and all(each.least > 1 or each.most < 1 for each in points))
