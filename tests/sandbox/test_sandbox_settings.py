"""The sandbox's knobs."""

from __future__ import annotations

import pytest

from launcher.errors import GpurunError
from launcher.sandbox.cloud.settings import Settings


def test_single_machines_boot_slowly_and_the_others_as_ever() -> None:
    now = Settings(boot_delay_s=1.0).changed({"boot_delays_s": [30, 0]})
    delays = []
    for _ in range(3):
        own, now = now.for_next()
        delays.append(own.boot_delay_s)
    assert delays == [30.0, 0.0, 1.0]
    assert now == Settings(boot_delay_s=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"boot_delay_s": -1},
        {"boot_delay_s": "soon"},
        {"boot_delays_s": [1, -1]},
        {"boot_delays_s": 3},
        {"disk_bytes": -1},
        {"clock_ahead_s": "nan"},
        {"pending_s": float("inf")},
    ],
)
def test_what_no_knob_can_be_turned_to_is_refused(region, wrong: dict) -> None:
    before = region.admin.settings()
    with pytest.raises(GpurunError, match="the sandbox refuses"):
        region.admin.settings(**wrong)
    assert region.admin.settings() == before


@pytest.mark.parametrize("name", ["disk_bytes", "clock_ahead_s"])
def test_hosts_without_a_disk_and_clock_of_their_own_say_so(region, name: str) -> None:
    with pytest.raises(GpurunError, match="the disk and clock of this computer"):
        region.admin.settings(**{name: 1000})
    assert region.admin.settings(**{name: 0})[name] == 0


def test_each_launch_takes_one_of_the_delays(region) -> None:
    region.admin.settings(boot_delays_s=[2.5])
    region.run()
    assert region.admin.settings()["boot_delays_s"] == []


def test_a_machine_without_a_host_has_no_disk_to_fill(region) -> None:
    (instance_id,) = region.run()
    with pytest.raises(GpurunError, match="has no host"):
        region.admin.fill(instance_id)
