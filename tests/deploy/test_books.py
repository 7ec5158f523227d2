"""The schedule's ledger in S3: as it was written last, however many machines and laptops have had it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from launcher.deploy import books
from launcher.deploy.lease import Held, Lease
from launcher.errors import GpurunError, LedgerError
from launcher.ledger import Ledger, Owner, Tick, TickRecord, TickStatus
from launcher.schedule.facts import good_in_a_row
from tests.deploy.conftest import BEGIN, record

if TYPE_CHECKING:
    from launcher.registry.history import History

ME = Owner(pid=1, started="1")
MINUTE = timedelta(minutes=1)
NO_LEDGERS = {
    "match": {"service": "s3", "action": "PUT .*/ledgers/.*"},
    "effect": {"error": "AccessDenied", "status": 403},
    "times": -1,
}


def ended(
    book: Ledger, number: int, status: TickStatus = TickStatus.SUCCEEDED, version: str = "digits@1"
) -> TickRecord:
    """A tick that is over."""
    due_at = BEGIN + number * MINUTE
    tick = book.ticks.take(Tick(schedule="digits", cause="cron", due_at=due_at, considered_at=due_at), ME, due_at)
    assert tick is not None
    assert book.ticks.end(tick, status, "why", due_at + MINUTE, version=version)
    return book.ticks.get(tick.tick_id)


def told(ticks) -> list[tuple]:
    """What is the same of a tick in every ledger."""
    return [(tick.due_at, tick.cause, tick.status, tick.reason, tick.version, tick.ended_at) for tick in ticks]


@pytest.fixture
def book(tmp_path):
    with Ledger.open(tmp_path / "laptop/ledger.db") as it:
        it.schedules.add(record())
        yield it


def keep(desk, book: Ledger, path: Path, number: int) -> None:
    books.keep(desk.aws, desk.bucket, desk.prefix, path, number)


def bring(desk, path: Path) -> int | None:
    return books.bring(desk.aws, desk.bucket, desk.prefix, path)


def test_there_is_none_at_first(desk, tmp_path):
    assert bring(desk, tmp_path / "machine/ledger.db") is None
    assert not (tmp_path / "machine").exists()


def test_kept_and_brought(desk, book, tmp_path):
    tick = ended(book, 1)
    keep(desk, book, tmp_path / "laptop/ledger.db", 7)
    assert bring(desk, tmp_path / "machine/ledger.db") == 7
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert there.ticks.list("digits") == (tick,)
        found, here = there.schedules.get("digits"), book.schedules.get("digits")
        assert replace(found, options="") == replace(here, options="")
        assert json.loads(found.options) == {
            key: each for key, each in json.loads(here.options).items() if key != "notify"
        }
    assert sorted(path.name for path in (tmp_path / "machine").iterdir() if "fetched" in path.name) == []


def test_the_newest_counts_as_a_number(desk, book, tmp_path):
    for number in (9, 100, 10):
        ended(book, number)
        keep(desk, book, tmp_path / "laptop/ledger.db", number)
    assert bring(desk, tmp_path / "machine/ledger.db") == 100
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert len(there.ticks.list("digits")) == 2


def test_in_the_middle_of_a_write(desk, book, tmp_path):
    """What is kept is whole, and has nothing of a transaction that may yet be rolled back."""
    ended(book, 1)
    path = tmp_path / "laptop/ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM schedule_ticks")
        keep(desk, book, path, 1)
        other.execute("ROLLBACK")
    bring(desk, tmp_path / "machine/ledger.db")
    with closing(sqlite3.connect(tmp_path / "machine/ledger.db")) as there:
        assert there.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert len(there.ticks.list("digits")) == 1


def test_kept_again_under_the_same_number_is_what_is_newest(desk, book, tmp_path):
    path = tmp_path / "laptop/ledger.db"
    keep(desk, book, path, 3)
    ended(book, 1)
    keep(desk, book, path, 3)
    bring(desk, tmp_path / "machine/ledger.db")
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert len(there.ticks.list("digits")) == 1


def test_a_write_that_fails_leaves_what_was_there(desk, book, tmp_path, torment):
    path = tmp_path / "laptop/ledger.db"
    keep(desk, book, path, 3)
    ended(book, 1)
    torment.fault(NO_LEDGERS)
    with pytest.raises(GpurunError):
        keep(desk, book, path, 3)
    torment.clear_faults()
    bring(desk, tmp_path / "machine/ledger.db")
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert there.ticks.list("digits") == ()


def test_a_ledger_that_is_none(desk, aws, tmp_path):
    aws.s3.put_object(Bucket=desk.bucket, Key=f"{desk.prefix}ledgers/00000001.db", Body=b"not a ledger " * 100)
    bring(desk, tmp_path / "machine/ledger.db")
    with pytest.raises(LedgerError), Ledger.open(tmp_path / "machine/ledger.db"):
        pass


def test_only_the_last_few_stay(desk, book, tmp_path, keys):
    for number in range(1, 7):
        keep(desk, book, tmp_path / "laptop/ledger.db", number)
    books.prune(desk.aws, desk.bucket, desk.prefix)
    assert keys() == [f"{desk.prefix}ledgers/{number:08d}.db" for number in (4, 5, 6)]
    books.prune(desk.aws, desk.bucket, desk.prefix)
    assert len(keys()) == books.KEPT


def test_merged_it_knows_schedule_and_ticks_and_owes_nothing(desk, book, tmp_path):
    ticks = [ended(book, number) for number in (1, 2)]
    now = BEGIN + timedelta(days=1)
    assert books.merge(desk, record(cron="0 4 * * 1"), book.ticks.list("digits"), now) is None
    bring(desk, tmp_path / "machine/ledger.db")
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert told(there.ticks.list("digits")) == told(reversed(ticks))
        assert there.schedules.get("digits").cron == "0 4 * * 1"
        assert there.schedules.get("digits").considered_at == now
    assert desk.newest()[1], "the lease is given back"


def test_merged_twice_nothing_is_twice(desk, book, tmp_path):
    ended(book, 1)
    for _ in range(2):
        assert books.merge(desk, record(), book.ticks.list("digits"), BEGIN) is None
    bring(desk, tmp_path / "machine/ledger.db")
    with Ledger.open(tmp_path / "machine/ledger.db") as there:
        assert len(there.ticks.list("digits")) == 1


def test_while_a_machine_is_at_work_nothing_is_written(desk, book, keys):
    lease = desk.take("i-1", "", BEGIN + timedelta(hours=1), BEGIN)
    assert isinstance(lease, Lease)
    before = keys()
    assert books.merge(desk, record(), (), BEGIN) == lease
    assert keys() == before


def test_a_merge_that_fails_gives_the_lease_back(desk, torment):
    torment.fault(NO_LEDGERS)
    with pytest.raises(GpurunError):
        books.merge(desk, record(), (), BEGIN)
    torment.clear_faults()
    assert not isinstance(desk.take("i-1", "", BEGIN + MINUTE, BEGIN), Held)


def test_adopted_ticks_are_over_and_there_once(book, tmp_path):
    for number, status in enumerate([TickStatus.SUCCEEDED, TickStatus.FAILED, TickStatus.SKIPPED], 1):
        ended(book, number, status)
    due_at = BEGIN + 9 * MINUTE
    assert book.ticks.take(Tick(schedule="digits", cause="now", due_at=due_at, considered_at=due_at), ME, due_at)
    with Ledger.open(tmp_path / "other/ledger.db") as other:
        other.schedules.add(record())
        mine = ended(other, 1, TickStatus.CANCELLED)
        for _ in range(2):
            other.ticks.adopt(book.ticks.list("digits"))
        found = other.ticks.list("digits")
        assert [tick.status for tick in found] == [TickStatus.SKIPPED, TickStatus.FAILED, TickStatus.CANCELLED]
        assert found[-1] == mine, "what is known already stays"
        assert other.ticks.unfinished() == ()
        assert len(book.ticks.unfinished()) == 1


class Log:
    """A registry's history of which every version but the first was judged good against it."""

    name, champion = "digits", 1

    def about(self, number: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(details={"gate": {"good": number > 1, "compared_with": 1}})]


def test_good_retrains_in_a_row_count_on_from_laptop_to_cloud_and_back(desk, book, tmp_path):
    """`--canary` asks for several: they may have been made on either side."""

    def good(there: Ledger) -> int:
        return good_in_a_row(there, "digits", cast("History", Log()))

    for number in (1, 2):
        ended(book, number, version=f"digits@{number}")
    assert books.merge(desk, record(), book.ticks.list("digits"), BEGIN) is None
    there = tmp_path / "machine/ledger.db"
    number = bring(desk, there)
    with Ledger.open(there) as machine:
        assert good(machine) == good(book) == 1
        ended(machine, 3, version="digits@3")
        ended(machine, 4, TickStatus.CANCELLED, version="")
        assert good(machine) == 2
        book.ticks.adopt(machine.ticks.list("digits"))
    assert good(book) == 2
    keep(desk, book, there, (number or 0) + 1)
    ended(book, 5, version="digits@5")
    assert books.merge(desk, record(), book.ticks.list("digits"), BEGIN) is None
    bring(desk, there)
    with Ledger.open(there) as machine:
        assert good(machine) == good(book) == 3
        assert told(machine.ticks.list("digits")) == told(book.ticks.list("digits"))
