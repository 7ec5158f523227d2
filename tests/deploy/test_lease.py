"""One machine of a schedule at a time: leases in S3, asked for by many at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context

import pytest

from launcher.aws.client import Aws
from launcher.deploy.lease import Desk, Held, Lease
from launcher.domain import Account
from launcher.errors import GpurunError
from tests.deploy.conftest import BEGIN

HOUR = timedelta(hours=1)


def take(desk: Desk, holder: str, after: timedelta = timedelta(0)) -> Lease | Held:
    now = BEGIN + after
    return desk.take(holder, "2026-11-21T12:00:00Z", now + HOUR, now)


def taken(desk: Desk, holder: str, after: timedelta = timedelta(0)) -> Lease:
    lease = take(desk, holder, after)
    assert isinstance(lease, Lease)
    return lease


def refused(desk: Desk, holder: str, after: timedelta = timedelta(0)) -> Lease:
    held = take(desk, holder, after)
    assert isinstance(held, Held)
    return held.lease


def crowd(count: int, ask: Callable[[int], Lease | Held]) -> list[Lease | Held]:
    """Ask from many threads at the same moment."""
    gate = threading.Barrier(count)

    def one(number: int) -> Lease | Held:
        gate.wait()
        return ask(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def in_a_process(account: Account, bucket: str, prefix: str, numbers: range) -> list[tuple[int, str]]:
    """Many turns, one after the other: of each lease its number and holder."""
    desk = Desk(aws=Aws(account), bucket=bucket, prefix=prefix)
    found = []
    for number in numbers:
        lease = take(desk, f"i-{number}")
        if isinstance(lease, Lease):
            found.append((lease.number, lease.holder))
            desk.give_back(lease)
    return found


def test_the_first_one(desk):
    assert desk.newest() == (None, True)
    lease = taken(desk, "i-1")
    assert lease == Lease(number=1, holder="i-1", tick="2026-11-21T12:00:00Z", until=BEGIN + HOUR)
    assert desk.newest() == (lease, False)


def test_one_of_many_wins(desk):
    answers = crowd(16, lambda number: take(desk, f"i-{number}"))
    won = [each for each in answers if isinstance(each, Lease)]
    assert len(won) == 1
    assert {each.lease for each in answers if isinstance(each, Held)} == {won[0]}


def test_of_many_processes_each_number_is_given_once(desk, sandbox_none):
    with get_context("spawn").Pool(3) as pool:
        arguments = [
            (sandbox_none.account, desk.bucket, desk.prefix, range(first, first + 12)) for first in (100, 200, 300)
        ]
        found = sorted(pair for part in pool.starmap(in_a_process, arguments) for pair in part)
    numbers = [number for number, _ in found]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({holder for _, holder in found}) == len(found)
    newest, given_back = desk.newest()
    assert newest is not None
    assert (newest.number, given_back) == (numbers[-1], True)


def test_held_until_it_is_given_back(desk):
    lease = taken(desk, "i-1")
    assert refused(desk, "i-2") == lease
    desk.give_back(lease)
    desk.give_back(lease)
    assert taken(desk, "i-2").number == 2
    assert refused(desk, "i-1").holder == "i-2"


def test_an_expired_one_goes_to_the_next(desk):
    first = taken(desk, "i-1")
    assert refused(desk, "i-2", HOUR - timedelta(seconds=1)) == first
    second = taken(desk, "i-2", HOUR)
    assert second.number == 2
    desk.give_back(first)  # it wakes up late: that ends nothing of the second
    assert refused(desk, "i-3", HOUR).holder == "i-2"


def test_an_expired_one_goes_to_one_of_many(desk):
    taken(desk, "i-0")
    won = [each for each in crowd(8, lambda n: take(desk, f"i-{n + 1}", 2 * HOUR)) if isinstance(each, Lease)]
    assert [each.number for each in won] == [2]


@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_is_lost(desk, torment, times):
    """The write took effect; sent again, it finds what it wrote itself."""
    torment.fault({"match": {"service": "s3", "action": "PUT .*"}, "effect": {"drop": "after"}, "times": times})
    assert taken(desk, "i-1").number == 1
    assert [rule["hits"] for rule in torment.faults()] == [times]
    torment.clear_faults()
    assert refused(desk, "i-2").holder == "i-1"


def test_a_refusal_is_no_lease(desk, torment):
    torment.fault({"match": {"service": "s3"}, "effect": {"error": "AccessDenied", "status": 403}, "times": -1})
    with pytest.raises(GpurunError):
        take(desk, "i-1")
    torment.clear_faults()
    assert desk.newest() == (None, True)


def test_schedules_do_not_know_each_other(desk):
    other = replace(desk, prefix="team/.schedules/digits-2/")
    assert taken(desk, "i-1").number == taken(other, "i-2").number == 1


def test_strange_objects_are_no_leases(desk, aws):
    for name in ("notes.txt", "00000009.tmp", "x.done"):
        aws.s3.put_object(Bucket=desk.bucket, Key=f"{desk.prefix}leases/{name}", Body=b"")
    assert taken(desk, "i-1").number == 1


def test_a_holder_that_is_gone_holds_nothing(desk):
    assert taken(desk, "i-1").number == 1
    for dead, number in ((False, None), (True, 2)):
        found = desk.take("i-2", "", BEGIN + HOUR, BEGIN, gone=lambda holder, dead=dead: dead and holder == "i-1")
        assert (found.number if isinstance(found, Lease) else None) == number
