"""Comparisons in the ledger: entered once, found again by whatever a user types, told when they are over."""

from datetime import UTC, datetime, timedelta

import pytest

from launcher.domain import RunId
from launcher.errors import LedgerError, SpecError
from launcher.ledger import ComparisonRecord, Ledger

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _record(number: int, name: str = "digits") -> ComparisonRecord:
    return ComparisonRecord(
        comparison_id=f"{name}-compare-20261121-12000{number}-aaaaa",
        created_at=NOW + timedelta(seconds=number),
        title=name,
        request="{}",
        run_ids=(RunId("one"), RunId("two")),
    )


@pytest.fixture
def book(tmp_path):
    with Ledger.open(tmp_path / "state" / "ledger.db") as ledger:
        yield ledger


def test_what_is_entered_is_found_by_its_beginning_and_the_newest_is_last(book):
    first, second, other = _record(1), _record(2), _record(0, "faces")
    for record in (first, second, other):
        book.comparisons.create(record)
    assert book.comparisons.list() == (second, first, other)
    assert book.comparisons.resolve("last") == second
    assert book.comparisons.resolve("faces") == other
    assert book.comparisons.resolve(first.comparison_id) == first
    with pytest.raises(SpecError, match="2 comparisons begin with 'digits'"):
        book.comparisons.resolve("digits")
    for text in ("", "nothing"):
        with pytest.raises(SpecError, match="there is no comparison"):
            book.comparisons.resolve(text)


def test_where_there_is_none_the_next_command_is_told(book):
    with pytest.raises(SpecError, match="no comparison yet") as told:
        book.comparisons.resolve("last")
    assert "gpurun compare-cpu-gpu" in told.value.hint


def test_what_came_of_it_is_kept_beside_what_was_asked_for(book):
    book.comparisons.create(_record(1))
    book.comparisons.tell(_record(1).comparison_id, '{"legs": []}')
    (kept,) = book.comparisons.list()
    assert (kept.result, kept.request, kept.run_ids) == ('{"legs": []}', "{}", ("one", "two"))
    with pytest.raises(LedgerError, match="not in the ledger"):
        book.comparisons.tell("nothing", "{}")


def test_one_that_is_there_is_not_entered_again(book):
    book.comparisons.create(_record(1))
    with pytest.raises(LedgerError):
        book.comparisons.create(_record(1))
