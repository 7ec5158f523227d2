"""What legs tell alone and together: figures, ratios, the verdict, and what is held against an older comparison."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from launcher.compare import ratios
from launcher.compare.against import against
from launcher.compare.assemble import LegRun, assemble, price_usd_per_hour, put_together
from launcher.compare.lasting import too_short
from launcher.compare.verdict import verdict
from launcher.comparison import LegResult, Parity, TrialState
from launcher.domain import Device, FloatX, RunId
from tests.compare import samples
from tests.compare.folders import BEGAN_S, CPU, GPU, put


def leg(
    device: Device,
    *seconds: float,
    floatx: FloatX = FloatX.FLOAT32,
    run: str = "one",
    price: float = 3.6,
    place: str = "",
    **sweep: str,
) -> LegResult:
    """A leg whose trials trained so long, in processes that took a second more."""
    of = samples.leg(device, floatx, place=place, **sweep)
    trials = []
    for repeat, train_s in enumerate(seconds, 1):
        base = samples.trial(of, repeat, 1.0)
        assert base.usage is not None
        trials.append(
            replace(base, train_s=train_s, epoch_s=train_s / 20, usage=replace(base.usage, elapsed_s=train_s + 1))
        )
    return samples.result(of, trials, run=run, price=price)


def undone(device: Device, state: TrialState, reason: str, floatx: FloatX = FloatX.FLOAT32) -> LegResult:
    of = samples.leg(device, floatx)
    return samples.result(of, [samples.undone(of, 1, state, reason)], run="one", price=3.6)


def found(legs, what: str):
    (ratio,) = [each for each in ratios.ratios(legs) if each.what == what]
    return ratio


def test_a_leg_is_the_median_of_the_trials_that_are_done_and_dollars_are_its_seconds():
    three = leg(Device.CPU, 10, 14, 11)
    failed = replace(three.trials[0], repeat=4, state=TrialState.FAILED, train_s=1e6)
    made = samples.result(three.leg, [*three.trials, failed], run="one", price=3.6)
    assert made.train_s is not None
    assert (made.train_s.median, made.train_s.least, made.train_s.most, made.train_s.count) == (11, 10, 14, 3)
    # 3.6 dollars an hour are a thousandth of a dollar a second.
    assert made.usd_per_run == pytest.approx(0.012)
    assert made.usd_per_epoch == pytest.approx(0.00055)
    assert made.usd_to_target == pytest.approx(made.target_s.median / 1000)
    assert made.state is TrialState.DONE


def test_legs_of_one_run_are_paired_by_repeat_and_drift_cancels():
    both = [leg(Device.CPU, 100, 200), leg(Device.GPU, 10, 20)]
    paired = found(both, "train")
    assert (paired.value, paired.least, paired.most, paired.count, paired.paired) == (10, 10, 10, 2, True)
    apart = found([both[0], leg(Device.GPU, 10, 20, run="other")], "train")
    assert (apart.value, apart.least, apart.most, apart.count, apart.paired) == (10, 5, 20, 2, False)
    assert paired.certain
    assert apart.certain
    assert not found([leg(Device.CPU, 100), leg(Device.GPU, 10)], "train").certain


def test_a_cost_ratio_is_of_whole_processes_and_none_where_one_costs_nothing():
    both = [leg(Device.CPU, 99, 99, price=1.0), leg(Device.GPU, 9, 9, price=4.0)]
    assert found(both, "usd").value == pytest.approx(0.4)
    assert (found(both, "usd").numerator, found(both, "usd").denominator) == ("gpu-float32", "cpu-float32")
    own = [leg(Device.CPU, 99, price=0.0), leg(Device.GPU, 9)]
    assert "usd" not in {ratio.what for ratio in ratios.ratios(own)}


def test_like_is_compared_to_like_and_without_it_the_best_of_each():
    half, plain = leg(Device.CPU, 5, floatx=FloatX.BFLOAT16), leg(Device.CPU, 10)
    gpus = [leg(Device.GPU, 2), leg(Device.GPU, 1, floatx=FloatX.FLOAT16)]
    (pair,) = ratios.pairs([half, plain, *gpus])
    assert [each.leg.name for each in pair] == ["cpu-float32", "gpu-float32"]
    (pair,) = ratios.pairs([half, plain, gpus[1]])
    assert [each.leg.name for each in pair] == ["cpu-bfloat16", "gpu-float16"]
    assert ratios.pairs([half, plain]) == ()


@pytest.mark.parametrize(
    ("legs", "said"),
    [
        (
            [leg(Device.CPU, 310, 312.7, 315, run="c", price=1), leg(Device.GPU, 17.8, 17.9, 18, run="g", price=4)],
            "The GPU (g4dn.xlarge) trains 17.5 times (17.2 to 17.7) as fast as the CPU (c7i.4xlarge) and costs "
            "0.24 times as much per run.",
        ),
        (
            [leg(Device.CPU, 84, 85), leg(Device.GPU, 210, 214)],
            "This job is too small for the GPU: the GPU (g4dn.xlarge) takes 2.51 times (2.50 to 2.52) as long as "
            "the CPU (c7i.4xlarge) and costs 2.49 times as much per run.",
        ),
        (
            [leg(Device.CPU, 10, 12), leg(Device.GPU, 11, 11)],
            "The GPU (g4dn.xlarge) and the CPU (c7i.4xlarge) are about equally fast: the GPU trains 1.00 times "
            "(0.91 to 1.09) as fast, the trials do not agree on who is ahead; it costs as much per run.",
        ),
        (
            [leg(Device.CPU, 10, price=0, place="local"), leg(Device.GPU, 5)],
            "The GPU (g4dn.xlarge) trains 2.00 times (measured once) as fast as the CPU (this machine) and costs "
            "$0.006 per run, where the CPU is your own.",
        ),
        (
            [leg(Device.CPU, 10, 10), undone(Device.GPU, TrialState.NO_DEVICE, "no GPU here")],
            "No GPU answered: the GPU legs were not run. Leg cpu-float32 takes 10.0 s.",
        ),
        (
            [leg(Device.CPU, 10, 10), undone(Device.GPU, TrialState.WRONG_DEVICE, "TensorFlow has no CUDA")],
            "The GPU legs did not run on the GPU: TensorFlow has no CUDA. Leg cpu-float32 takes 10.0 s.",
        ),
        (
            [undone(Device.CPU, TrialState.FAILED, "it exited with status 1"), leg(Device.GPU, 5)],
            "No leg on the CPU was done: it exited with status 1. Leg gpu-float32 takes 5.00 s.",
        ),
        ([undone(Device.CPU, TrialState.FAILED, "out of memory")], "No leg was done: out of memory."),
        (
            [leg(Device.CPU, 10), leg(Device.CPU, 20, floatx=FloatX.FLOAT64)],
            "The quickest leg is cpu-float32 (10.0 s); cpu-float64 takes 2.00 times as long.",
        ),
        ([], "No leg was done: they were not run."),
    ],
)
def test_the_verdict_in_plain_words(legs, said):
    assert verdict(legs) == said


def test_the_verdict_doubts_what_did_not_compute_the_same():
    both = [leg(Device.CPU, 10, 10), leg(Device.GPU, 5, 5)]
    base = Parity(
        leg="gpu-float32",
        reference="cpu-float32",
        tolerance=1e-3,
        largest_cost_difference=0.2,
        largest_weight_difference=None,
        exceeded=("the cost at step 9 differs by 0.2, more than 0.002",),
    )
    assert verdict(both, [base]).endswith(
        "Beware: gpu-float32 did not compute the same as cpu-float32: "
        "the cost at step 9 differs by 0.2, more than 0.002."
    )
    assert "did not do as many steps as cpu-float32" in verdict(both, [replace(base, equal_steps=False)])


def test_of_a_sweep_the_verdict_tells_the_span_and_where_the_gpu_pays():
    said = samples.sweep().verdict
    assert said.startswith(
        "The GPU trains 0.18 times (hidden_units 10) to 2.95 times (hidden_units 640) as fast as the CPU."
    )
    assert "the GPU pays in seconds from about 106 on" in said


def test_a_run_is_assembled_with_prices_warnings_and_receipts(tmp_path):
    put(tmp_path, CPU, 1)
    put(tmp_path, CPU, 2, state="failed", exit_status=1)
    put(tmp_path, GPU, 1, state="no device", reason="nvidia-smi is not there", exit_status=None, usage=None)
    first, second = (samples.deck().receipts[number][2][0] for number in (0, 1))
    first = replace(first, number=1, began_at=first.began_at.fromtimestamp(BEGAN_S - 900, first.began_at.tzinfo))
    second = replace(second, number=2, began_at=first.began_at + timedelta(hours=1))
    run = LegRun(
        legs=(CPU, GPU), run_id=RunId("r"), results=tmp_path, segments=(first, second), reason="it was stopped"
    )
    made = assemble(samples.request("two", repeats=2), [run], warnings=["mind the gap"])
    cpu, gpu = made.legs
    assert [trial.state for trial in cpu.trials] == [TrialState.DONE, TrialState.FAILED]
    assert [trial.state for trial in gpu.trials] == [TrialState.NO_DEVICE, TrialState.MISSING]
    assert gpu.trials[1].reason == "it was stopped"
    assert (gpu.state, gpu.reason) == (TrialState.NO_DEVICE, "nvidia-smi is not there")
    # Both trials began while the first machine was there; disk and address are in its price.
    assert cpu.machine == first.instance_type
    assert cpu.price_usd_per_hour == pytest.approx(price_usd_per_hour(first))
    assert cpu.price_usd_per_hour > first.price_usd_per_hour
    assert made.warnings == (
        "mind the gap",
        "cpu-float32 counts 1 of 2 trials: it exited with status 1; see: gpurun logs r",
    )
    assert made.receipts == (("r", first.cost_usd + second.cost_usd, (first, second)),)
    assert made.verdict.startswith("No GPU answered")


def test_a_run_that_was_never_made_is_told(tmp_path):
    refused = LegRun(legs=(GPU,), absent=TrialState.NO_DEVICE, reason="no GPU quota in eu-west-1")
    made = assemble(samples.request("none", repeats=2), [refused])
    (gpu,) = made.legs
    assert [(trial.state, trial.reason) for trial in gpu.trials] == [(TrialState.NO_DEVICE, refused.reason)] * 2
    assert (gpu.run_id, gpu.price_usd_per_hour, made.receipts) == (None, 0.0, ())


def test_against_itself_nothing_has_changed():
    assert against(samples.deck(), samples.deck()).changes == ()


def compared(*legs: LegResult, parities=()):
    return put_together(samples.request("x"), legs, parities=parities)


def test_what_is_slower_and_dearer_beyond_the_spread_is_a_regression():
    old = compared(leg(Device.CPU, 10, 10.4), leg(Device.GPU, 5, 5.2))
    new = compared(leg(Device.CPU, 10.3, 10.6), leg(Device.GPU, 6, 6.1))
    found = against(old, new)
    assert {(change.leg, change.what, change.worse) for change in found.changes} == {
        ("gpu-float32", what, True) for what in ("train", "elapsed", "epoch", "usd")
    }
    assert found.regressions[0].said == "gpu-float32: training took 5.1 s (5 to 5.2), now 6.05 s (6 to 6.1) (+19 %)"
    assert {change.worse for change in against(new, old).changes} == {False}


def test_a_single_measurement_is_given_more_room():
    old, new = compared(leg(Device.CPU, 10)), compared(leg(Device.CPU, 10.8))
    assert against(old, new).changes == ()
    assert {change.what for change in against(old, compared(leg(Device.CPU, 12))).changes} >= {"train", "epoch"}


def test_errors_states_and_parity_that_got_worse_are_regressions():
    cpu = leg(Device.CPU, 10, 10)
    worse = samples.result(cpu.leg, [replace(each, final_error=0.2) for each in cpu.trials], run="one", price=3.6)
    assert [change.what for change in against(compared(cpu), compared(worse)).regressions] == ["error"]
    lost = undone(Device.CPU, TrialState.FAILED, "it exited with status 1")
    (change,) = against(compared(cpu), compared(lost)).regressions
    assert change.said == "cpu-float32: was done, and is not now (failed: it exited with status 1)"
    good = samples.deck().parities[2]
    bad = replace(good, exceeded=("the cost at step 5 differs by 1, more than 0.002",))
    (change,) = against(compared(cpu, parities=[good]), compared(cpu, parities=[bad])).regressions
    assert (change.what, change.leg) == ("parity", "gpu-float32")


def test_legs_that_only_one_has_and_other_hardware_are_told():
    old = compared(leg(Device.CPU, 10), leg(Device.GPU, 5))
    other = leg(Device.CPU, 10)
    machine = replace(other.trials[0].machine, processor="EPYC")
    new = compared(replace(other, trials=(replace(other.trials[0], machine=machine),)))
    untold = against(old, new).untold
    assert any("gpu-float32 is not in" in said for said in untold)
    assert any("cpu-float32 ran on other hardware" in said and "EPYC" in said for said in untold)


def test_a_leg_that_moved_to_another_type_of_machine_is_priced_by_both_and_told(tmp_path):
    put(tmp_path, CPU, 1)
    put(tmp_path, CPU, 2, began_at=BEGAN_S + 7200, again=1)
    first, second = (samples.deck().receipts[number][2][0] for number in (0, 1))
    first = replace(first, number=1, began_at=first.began_at.fromtimestamp(BEGAN_S - 900, first.began_at.tzinfo))
    second = replace(second, number=2, began_at=first.began_at + timedelta(hours=1))
    run = LegRun(legs=(CPU,), run_id=RunId("r"), results=tmp_path, segments=(first, second))
    made = assemble(samples.request("moved", repeats=2), [run])
    (cpu,) = made.legs
    assert cpu.machine == f"{first.instance_type} then {second.instance_type}"
    assert cpu.price_usd_per_hour == pytest.approx((price_usd_per_hour(first) + price_usd_per_hour(second)) / 2)
    assert made.warnings == (
        f"cpu-float32 ran on machines of several types ({cpu.machine}): its trials are not alike",
        "cpu-float32 was begun anew once: its machine was taken back",
    )


def test_legs_with_other_settings_are_other_work_and_never_compared():
    """The CPU has done 10 units alone, the GPU 500 alone."""
    few, many = leg(Device.CPU, 10, 10, units="10"), leg(Device.GPU, 1, 1, units="500")
    assert ratios.pairs([few, many]) == ()
    assert ratios.ratios([few, many]) == ()
    assert verdict([few, many]).startswith("The quickest leg is gpu-float32.units=500")


def test_a_pair_in_two_types_is_called_by_them():
    said = verdict([leg(Device.CPU, 10, 10), leg(Device.GPU, 5, 5, floatx=FloatX.BFLOAT16)])
    assert said.startswith("The GPU (g4dn.xlarge, bfloat16) trains 2.00 times (2.00 to 2.00) as fast as the CPU (c7i.4")


def test_a_target_that_some_trials_alone_came_to_is_told():
    both = leg(Device.CPU, 10, 11)
    one = samples.result(both.leg, [both.trials[0], replace(both.trials[1], target_s=None)], run="one", price=3.6)
    (said,) = put_together(samples.request("t"), [one]).warnings
    assert said == "cpu-float32 came to the target error in 1 of 2 trials: its time is of those alone"
    assert put_together(samples.request("t"), [both]).warnings == ()


def test_peak_memory_of_two_trials_is_their_middle():
    base = leg(Device.CPU, 10, 11)

    def using(*mib: int) -> LegResult:
        usages = [replace(trial.usage, max_rss_kib=1024 * used) for trial, used in zip(base.trials, mib, strict=True)]
        trials = [replace(trial, usage=usage) for trial, usage in zip(base.trials, usages, strict=True)]
        return samples.result(base.leg, trials, run="one", price=3.6)

    before, after = (put_together(samples.request("t"), [each]) for each in (using(100, 110), using(200, 300)))
    (change,) = against(before, after).changes
    assert (change.what, change.before, change.after) == ("memory", 105, 250)


def test_legs_that_took_longer_than_their_machine_is_given_are_told_before():
    both = [leg(Device.CPU, 3599, 3599), leg(Device.GPU, 359)]
    legs = [each.leg for each in both]
    made = put_together(samples.request("t"), both)
    faster = put_together(samples.request("t"), [leg(Device.CPU, 1), leg(Device.GPU, 1)])
    assert too_short(legs, 1, 1.2, [made]) == ""
    assert too_short(legs, 2, 2.1, [made]).startswith("by the last comparisons all legs, 2 times each take 2.2 h")
    assert "1 of 2 legs take 1 h" in too_short(legs, 1, 0.5, [put_together(samples.request("t"), both[:1])])
    # The newest counts; another place is another machine.
    assert too_short(legs, 1, 1, [faster, made]) == ""
    assert too_short(legs, 1, 1, [made, faster]) != ""
    assert too_short([replace(each, place="local") for each in legs], 1, 0.1, [made]) == ""
