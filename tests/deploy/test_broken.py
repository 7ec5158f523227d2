"""A deployment that breaks off at each of its calls: what stands then is found, and goes."""

from __future__ import annotations

import pytest

from launcher.errors import GpurunError
from tests.deploy.conftest import make, remove


@pytest.fixture
def calls(bench, torment) -> list[str]:
    """What a whole deployment asks of AWS, in order."""
    wanted = bench.plan()
    torment.clear_journal()
    make(bench, wanted)
    found = [f"{each['service']} {each['action']}" for each in torment.journal()]
    remove(bench, everything=True)
    return found


def test_broken_at_every_call_undeploy_leaves_nothing(bench, torment, calls):
    """Each call is refused in its turn: what stands then is found, and goes."""
    wanted = bench.plan()
    before = bench.standing()
    assert len(calls) > 15
    broke = []
    for number, call in enumerate(calls):
        torment.fault({"effect": {"error": "AccessDenied", "status": 403}, "skip": number, "times": 1})
        try:
            make(bench, wanted)
        except GpurunError:
            broke.append(call)
        torment.clear_faults()
        remove(bench)
        assert bench.standing() == before, call
    assert len(broke) == len(calls)


def test_answers_that_are_lost_make_nothing_twice(bench, torment, calls):
    wanted = bench.plan()
    torment.fault({"match": {"action": "(?!GET|HEAD).*"}, "effect": {"drop": "after"}, "times": 4})
    make(bench, wanted)
    torment.clear_faults()
    assert len({kind for kind, _ in bench.standing()}) == 6
    assert len(bench.standing()) == 9
    remove(bench)


def test_broken_at_every_call_of_its_own_undeploy_again_ends_it(bench, torment):
    wanted = bench.plan()
    before = bench.standing()
    make(bench, wanted)
    torment.clear_journal()
    remove(bench)
    count = len(torment.journal())
    assert count > 10
    for number in range(count):
        make(bench, wanted)
        torment.fault({"effect": {"error": "AccessDenied", "status": 403}, "skip": number, "times": 1})
        with pytest.raises(GpurunError):
            remove(bench)
        torment.clear_faults()
        remove(bench)
        assert bench.standing() == before
