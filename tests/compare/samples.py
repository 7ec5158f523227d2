"""Comparisons with the shape of real ones, drawn from a seed: for tests of what is told, and for looking at pages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from launcher.compare.assemble import LegRun, Request, put_together
from launcher.compare.figures import leg_result
from launcher.comparison import (
    Comparison,
    GpuUse,
    Leg,
    LegResult,
    Machine,
    Parity,
    Point,
    Trial,
    TrialState,
)
from launcher.domain import CitedLeg, Device, FloatX, JobUsage, RunId, SegmentCost

BEGAN = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
CPU_PRICE, GPU_PRICE = 0.2742, 0.1871
VERSIONS = (("python", "3.12.9"), ("numpy", "2.4.6"), ("keras", "3.15.1"), ("tensorflow", "2.21.0"))
ROWS = 41_000
STEPS_AN_EPOCH = 82
COUNTED = ("max_rss_kib", "major_faults", "minor_faults", "inputs", "outputs")
"""What `time` counts."""


def leg(device: Device, floatx: FloatX = FloatX.FLOAT32, *, place: str = "", **settings: str) -> Leg:
    """A leg named as the launcher names them."""
    place = place or {Device.CPU: "c7i.4xlarge", Device.GPU: "g4dn.xlarge"}[device]
    sweep = "".join(f".{name}={value}" for name, value in settings.items())
    return Leg(
        name=f"{device}-{floatx}{sweep}", device=device, floatx=floatx, place=place, settings=tuple(settings.items())
    )


def trial(
    of: Leg,
    repeat: int,
    epoch_s: float,
    *,
    epochs: int = 20,
    start_s: float = 4.6,
    warm_up_s: float = 0.5,
    error: float = 0.061,
    noise: float = 0.02,
    target: float | None = 0.08,
    rows: int = ROWS,
) -> Trial:
    """A training of the deck's network: `epoch_s` seconds an epoch, with some noise, and what `time` says of it."""
    draw = random.Random(f"{of.name} {repeat}")
    epoch_s *= 1 + draw.uniform(-noise, noise)
    warm_up_s *= 1 + draw.uniform(-noise, noise)
    points = tuple(_point(number, epoch_s, start_s + warm_up_s, epochs, error, draw) for number in _numbers(epochs))
    train_s = warm_up_s + epochs * epoch_s
    elapsed_s = start_s + train_s + 0.9
    gpu = of.device is Device.GPU
    user_s = elapsed_s * 0.93 if gpu else start_s + train_s * 13.2
    return Trial(
        leg=of.name,
        repeat=repeat,
        state=TrialState.DONE,
        exit_status=0,
        began_at=BEGAN + timedelta(minutes=7 * repeat),
        usage=JobUsage(
            user_s=user_s,
            system_s=elapsed_s * 0.11,
            elapsed_s=elapsed_s,
            max_rss_kib=(2_310_000 if gpu else 912_000) + draw.randrange(9_000),
            major_faults=draw.randrange(40),
            minor_faults=310_000 + draw.randrange(9_000),
            inputs=draw.randrange(900),
            outputs=4_200 + draw.randrange(300),
        ),
        gpu=GpuUse(
            name="Tesla T4",
            driver="570.172.08",
            samples=round(elapsed_s),
            mean_percent=41.5 + draw.uniform(-3, 3),
            max_memory_bytes=1_374 << 20,
            by_job=True,
        )
        if gpu
        else None,
        machine=Machine(
            processor="Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz" if gpu else "Intel(R) Xeon(R) Platinum 8488C",
            vcpus=4 if gpu else 16,
            memory_bytes=(16 if gpu else 32) << 30,
            system="Ubuntu 24.04.3 LTS, Linux 6.14.0-1015-aws",
            gpu="Tesla T4" if gpu else "",
            driver="570.172.08" if gpu else "",
        ),
        device_told=of.device,
        points=points,
        epochs=float(epochs),
        steps=epochs * STEPS_AN_EPOCH,
        samples=rows,
        ready_s=points[0].at_s,
        warm_up_s=warm_up_s,
        train_s=train_s,
        first_epoch_s=warm_up_s + epoch_s,
        epoch_s=epoch_s,
        samples_per_s=rows / epoch_s,
        final_cost=points[-1].cost,
        final_error=points[-1].error,
        target_s=next((p.at_s for p in points if p.error is not None and target and p.error <= target), None),
        versions=VERSIONS,
        weights=f"legs/{of.name}/{repeat}/weights.pkl",
    )


def undone(of: Leg, repeat: int, state: TrialState, reason: str) -> Trial:
    """A trial that does not count."""
    return Trial(leg=of.name, repeat=repeat, state=state, reason=reason)


def result(of: Leg, trials: Sequence[Trial], *, run: str, price: float) -> LegResult:
    """A leg with its figures."""
    machine = "" if of.place == "local" else of.place
    return leg_result(of, trials, run_id=RunId(run), price_usd_per_hour=price, machine=machine)


def request(title: str, *command: str, repeats: int = 3, target: float | None = 0.08) -> Request:
    """What was asked for."""
    return Request(
        comparison_id="cmp-20261121-0930-k3f9",
        title=title,
        created_at=BEGAN,
        command=("gpurun", "compare-cpu-gpu", *command),
        repeats=repeats,
        target=target,
        cited=(
            ("CPU of the deck (784-300-10, 41,000 rows)", "5 min 12.7 s, 6.5 % (deck 0)"),
            ("GRID K520 of the deck", "17.9 s, 5.8 %; 17.5 times as fast (deck 0)"),
        ),
        cited_legs=(
            CitedLeg(device=Device.CPU, train_s=312.749, elapsed_s=319.88, error=0.065, by="K520", source="deck 0"),
            CitedLeg(device=Device.GPU, train_s=17.883, elapsed_s=25.6, error=0.058, by="K520", source="deck 0"),
        ),
        version="0.1.0",
    )


def deck() -> Comparison:
    """The deck's network, CPU and GPU in three types, three repeats: 16 times as fast; a parity that fails."""
    seconds = {
        (Device.CPU, FloatX.FLOAT32): 15.6,
        (Device.CPU, FloatX.FLOAT64): 27.9,
        (Device.CPU, FloatX.BFLOAT16): 9.8,
        (Device.GPU, FloatX.FLOAT32): 0.86,
        (Device.GPU, FloatX.FLOAT64): 3.15,
        (Device.GPU, FloatX.BFLOAT16): 0.71,
    }
    legs = []
    for (device, floatx), epoch_s in seconds.items():
        of = leg(device, floatx)
        warm_up_s = 1.9 if device is Device.GPU else 0.5
        trials = [trial(of, repeat, epoch_s, warm_up_s=warm_up_s) for repeat in (1, 2, 3)]
        run, price = ("cpu-run-1", CPU_PRICE) if device is Device.CPU else ("gpu-run-1", GPU_PRICE)
        legs.append(result(of, trials, run=run, price=price))
    again = replace(legs[3].trials[1], again=1, notes=("3 lines of metrics.jsonl are no figures",))
    legs[3] = replace(legs[3], trials=(legs[3].trials[0], again, legs[3].trials[2]))
    return put_together(
        request("The deck's network, 784-300-10", "jobs/deck_mlp.yaml", "--on", "best", "--repeat", "3"),
        legs,
        runs=[_run("cpu-run-1", legs[:3], CPU_PRICE, 9_400), _run("gpu-run-1", legs[3:], GPU_PRICE, 780)],
        parities=[
            _parity("cpu-float64", "cpu-float32", 2.6e-3, 3.1e-6, 9.4e-6),
            _parity("cpu-bfloat16", "cpu-float32", 0.051, 0.012, 0.03),
            _parity("gpu-float32", "cpu-float32", 2.6e-3, 8.7e-6, 2.2e-5),
            _parity("gpu-float64", "cpu-float64", 1.3e-6, 3.1e-9, 9.4e-9),
            _parity(
                "gpu-bfloat16",
                "cpu-bfloat16",
                0.051,
                0.19,
                0.04,
                "the cost at step 1,640 differs by 0.19, more than 0.051",
            ),
        ],
    )


def sweep() -> Comparison:
    """Hidden units from 10 to 640 on one machine: the GPU pays from about 100 on."""
    legs = []
    for units in (10, 20, 40, 80, 160, 320, 640):
        for device in Device:
            of = leg(device, place="g4dn.xlarge", hidden_units=str(units))
            epoch_s = 0.55 + 0.0012 * units if device is Device.GPU else 0.02 + 0.0062 * units
            trials = [trial(of, repeat, epoch_s, error=0.05 + 0.4 / units, noise=0.05) for repeat in (1, 2, 3)]
            legs.append(result(of, trials, run="sweep-run-1", price=GPU_PRICE))
    return put_together(
        request("Hidden units, 10 to 640", "jobs/deck_mlp.yaml", "--sweep", "hidden_units=10..640", "--repeat", "3"),
        legs,
        runs=[_run("sweep-run-1", legs, GPU_PRICE, 3_100)],
        parities=[
            _parity(each.leg.name, each.leg.name.replace("gpu", "cpu"), 2.6e-3, 9e-6, 3e-5)
            for each in legs
            if each.leg.device is Device.GPU
        ],
    )


def no_gpu() -> Comparison:
    """A box without a GPU: two legs on the CPU, two that were not run, one that failed."""
    reason = "this machine has no GPU: nvidia-smi is not there"
    legs = []
    for floatx, epoch_s in ((FloatX.FLOAT32, 0.21), (FloatX.BFLOAT16, 0.14)):
        of = leg(Device.CPU, floatx, place="local")
        legs.append(result(of, [trial(of, repeat, epoch_s) for repeat in (1, 2)], run="box-run-1", price=0.0))
    failing = leg(Device.CPU, FloatX.FLOAT16, place="local")
    failed = [
        replace(undone(failing, repeat, TrialState.FAILED, "exited with status 1"), exit_status=1) for repeat in (1, 2)
    ]
    legs.append(result(failing, failed, run="box-run-1", price=0.0))
    for floatx in (FloatX.FLOAT32, FloatX.BFLOAT16):
        of = leg(Device.GPU, floatx, place="local")
        trials = [undone(of, repeat, TrialState.NO_DEVICE, reason) for repeat in (1, 2)]
        legs.append(result(of, trials, run="box-run-1", price=0.0))
    return put_together(
        request("The deck's network here", "jobs/deck_mlp.yaml", "--on", "local", "--repeat", "2", repeats=2),
        legs,
        runs=[LegRun(legs=tuple(each.leg for each in legs), run_id=RunId("box-run-1"))],
        parities=[_parity("cpu-bfloat16", "cpu-float32", 0.051, 0.012, 0.03)],
    )


def every() -> dict[str, Comparison]:
    """All of them, by name."""
    return {"deck": deck(), "sweep": sweep(), "no_gpu": no_gpu()}


def _numbers(epochs: int) -> list[int]:
    """The steps that the deck's program tells of: every tenth batch of an epoch."""
    return [epoch * STEPS_AN_EPOCH + batch for epoch in range(epochs) for batch in range(0, STEPS_AN_EPOCH, 10)]


def _point(step: int, epoch_s: float, ready_s: float, epochs: int, error: float, draw: random.Random) -> Point:
    share = (step + 1) / (epochs * STEPS_AN_EPOCH)
    now = error + (0.84 - error) * 2.0 ** (-60 * share) + draw.uniform(-0.002, 0.002)
    return Point(
        at_s=ready_s + epoch_s * (step + 1) / STEPS_AN_EPOCH,
        epoch=float(step // STEPS_AN_EPOCH),
        step=step,
        cost=216 + 2_300 * 2.0 ** (-55 * share) + draw.uniform(-1, 1),
        error=max(now, 0.0),
    )


def _run(run: str, legs: Sequence[LegResult], price: float, billed_s: int) -> LegRun:
    first = legs[0]
    instance_usd, disk_usd, address_usd = (
        (price - 0.0105) * billed_s / 3600,
        0.0055 * billed_s / 3600,
        0.005 * billed_s / 3600,
    )
    segment = SegmentCost(
        number=1,
        instance_id="i-0f3a9c27be4d1856e",
        instance_type=first.machine,
        region="eu-west-1",
        zone="eu-west-1b",
        market="spot",
        price_usd_per_hour=price - 0.0105,
        began_at=BEGAN,
        ended_at=BEGAN + timedelta(seconds=billed_s),
        billed_s=billed_s,
        instance_usd=instance_usd,
        disk_usd=disk_usd,
        address_usd=address_usd,
        cost_usd=instance_usd + disk_usd + address_usd,
    )
    return LegRun(legs=tuple(each.leg for each in legs), run_id=RunId(run), segments=(segment,))


def _parity(of: str, reference: str, tolerance: float, cost: float, weights: float, *exceeded: str) -> Parity:
    return Parity(
        leg=of,
        reference=reference,
        tolerance=tolerance,
        weight_tolerance=5 * tolerance,
        largest_cost_difference=cost,
        largest_weight_difference=weights,
        exceeded=exceeded,
    )
