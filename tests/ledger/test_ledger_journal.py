"""What is entered comes back, and only what may follow is allowed."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import (
    TRANSITIONS,
    Account,
    JobUsage,
    PhaseTime,
    Receipt,
    RunId,
    RunStatus,
    Segment,
    SegmentCost,
)
from launcher.errors import LedgerError, SpecError
from launcher.ledger import (
    Ledger,
    account_from_text,
    account_to_text,
    receipt_from_text,
    receipt_to_text,
)
from launcher.ledger.records import SEGMENT_COLUMNS

NOW = datetime(2026, 11, 20, 20, 15, 30, 123456, tzinfo=UTC)


def test_a_full_record_comes_back_as_it_was_entered(ledger, make_run):
    run = make_run(
        status=RunStatus.RUNNING,
        plan='{"offers": []}',
        ended_at=NOW,
        deadline_at=NOW + timedelta(hours=4),
        instance_id="i-1",
        instance_type="g4dn.xlarge",
        zone="us-east-1a",
        market="spot",
        price_usd_per_hour=0.1578,
        address="203.0.113.7",
        exit_status=-9,
        reason="so it ended; naïve",
        launcher_pid=4711,
        launcher_started="12345",
        detached=True,
        host_key_line="ssh-ed25519 AAAA",
        receipt="{}",
    )
    ledger.create(run)
    assert ledger.get(run.run_id) == run


def test_what_was_entered_is_there_after_closing(path, make_run):
    run = make_run()
    with Ledger.open(path) as first:
        first.create(run)
    with Ledger.open(path) as second:
        assert second.get(run.run_id) == run


def test_one_id_is_entered_once(ledger, make_run):
    run = make_run()
    ledger.create(run)
    with pytest.raises(LedgerError, match="already"):
        ledger.create(run)


def test_times_of_any_zone_are_kept_as_the_same_instant(ledger, make_run):
    run = make_run(created_at=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))
    ledger.create(run)
    assert ledger.get(run.run_id).created_at == NOW
    assert ledger.get(run.run_id).created_at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(ledger, make_run):
    with pytest.raises(ValueError, match="time zone"):
        ledger.create(make_run(created_at=datetime(2026, 1, 1)))  # noqa: DTZ001 - the mistake itself


def test_update_changes_what_it_names_and_stamps_the_row(ledger, make_run):
    run = make_run(updated_at=NOW)
    ledger.create(run)
    ledger.update(run.run_id, instance_id="i-1", detached=True, deadline_at=NOW)
    found = ledger.get(run.run_id)
    assert (found.instance_id, found.detached, found.deadline_at) == ("i-1", True, NOW)
    assert found.updated_at > NOW
    assert found.token == run.token


@pytest.mark.parametrize("column", ["status", "name", "created_at", "nonsense", "name = 'x' --"])
def test_update_refuses_columns_that_are_not_its_own(ledger, make_run, column):
    run = make_run()
    ledger.create(run)
    with pytest.raises(ValueError, match="no such columns"):
        ledger.update(run.run_id, **{column: "x"})
    assert ledger.get(run.run_id) == run


@pytest.mark.parametrize("write", ["update", "advance", "event", "intend"])
def test_writing_to_an_unknown_run_is_an_error(ledger, write):
    calls = {
        "update": lambda: ledger.update("nobody", reason="x"),
        "advance": lambda: ledger.advance("nobody", RunStatus.FAILED),
        "event": lambda: ledger.event("nobody", "kind"),
        "intend": lambda: ledger.intend("nobody", "key", "token", "us-east-1"),
    }
    with pytest.raises(LedgerError, match="not in the ledger"):
        calls[write]()


@pytest.mark.parametrize("before", RunStatus)
@pytest.mark.parametrize("after", RunStatus)
def test_only_what_may_follow_is_allowed(ledger, make_run, before, after):
    run = make_run(status=before)
    ledger.create(run)
    if after == before or after in TRANSITIONS[before]:
        ledger.advance(run.run_id, after)
        assert ledger.get(run.run_id).status is after
    else:
        with pytest.raises(LedgerError, match="cannot become"):
            ledger.advance(run.run_id, after)
        assert ledger.get(run.run_id).status is before
        assert ledger.events(run.run_id) == ()


def test_advance_writes_status_columns_and_event_together(ledger, make_run):
    run = make_run(status=RunStatus.TERMINATING)
    ledger.create(run)
    ledger.advance(run.run_id, RunStatus.FAILED, reason="exit status 3", exit_status=3)
    found = ledger.get(run.run_id)
    (event,) = ledger.events(run.run_id)
    assert (found.status, found.reason, found.exit_status) == (RunStatus.FAILED, "exit status 3", 3)
    assert found.ended_at == event.at
    assert (event.kind, event.data) == ("status", {"from": "terminating", "to": "failed"})


def test_staying_where_it_is_enters_no_event_and_keeps_the_end(ledger, make_run):
    run = make_run(status=RunStatus.SUCCEEDED, ended_at=NOW)
    ledger.create(run)
    ledger.advance(run.run_id, RunStatus.SUCCEEDED)
    assert ledger.events(run.run_id) == ()
    assert ledger.get(run.run_id).ended_at == NOW


def test_events_come_in_order_and_from_any_point(ledger, make_run):
    one, other = make_run("one"), make_run("other")
    ledger.create(one)
    ledger.create(other)
    first = ledger.event(one.run_id, "fleet", {"token": "t", "ids": [1, 2], "at": NOW})
    ledger.event(other.run_id, "noise")
    last = ledger.event(one.run_id, "bye")
    assert [(each.event_id, each.kind) for each in ledger.events(one.run_id)] == [(first, "fleet"), (last, "bye")]
    assert ledger.events(one.run_id)[0].data == {"token": "t", "ids": [1, 2], "at": str(NOW)}
    assert [each.kind for each in ledger.events(one.run_id, after=first)] == ["bye"]


def test_list_gives_the_newest_first_and_the_active_alone(ledger, make_run):
    runs = [
        make_run(f"run-{age}", created_at=NOW - timedelta(hours=age), status=status)
        for age, status in enumerate([RunStatus.RUNNING, RunStatus.SUCCEEDED, RunStatus.INTERRUPTED])
    ]
    for run in reversed(runs):
        ledger.create(run)
    assert [run.name for run in ledger.list()] == ["run-0", "run-1", "run-2"]
    assert [run.name for run in ledger.list(active_only=True)] == ["run-0", "run-2"]
    assert [run.name for run in ledger.list(limit=2)] == ["run-0", "run-1"]


def test_a_resource_is_open_from_intent_to_release(ledger, make_run):
    run, other = make_run("one"), make_run("two")
    ledger.create(run)
    ledger.create(other)
    key = ledger.intend(run.run_id, "key", "token", "us-east-1")
    ledger.intend(other.run_id, "key", "token", "us-east-1")
    (before,) = ledger.open_resources(run.run_id)
    assert (before.kind, before.token, before.aws_id, before.confirmed_at) == ("key", "token", None, None)
    ledger.confirm(key, "key-1")
    (after,) = ledger.open_resources(run.run_id)
    assert (after.aws_id, after.confirmed_at is not None) == ("key-1", True)
    assert len(ledger.open_resources()) == 2
    ledger.released(key)
    assert ledger.open_resources(run.run_id) == ()
    assert len(ledger.open_resources()) == 1


def test_the_same_intent_again_is_the_same_resource(ledger, make_run):
    run = make_run()
    ledger.create(run)
    first = ledger.intend(run.run_id, "fleet", "token", "us-east-1")
    ledger.confirm(first, "i-1")
    assert ledger.intend(run.run_id, "fleet", "token", "us-east-1") == first
    assert ledger.open_resources()[0].aws_id == "i-1"
    ledger.released(first)
    assert ledger.intend(run.run_id, "fleet", "token", "us-east-1") == first
    assert [each.aws_id for each in ledger.open_resources()] == [None]
    assert ledger.intend(run.run_id, "fleet", "another", "us-east-1") != first


def test_the_cache_keeps_the_latest_text_and_its_time(ledger):
    assert ledger.cache.get("prices") is None
    before = datetime.now(UTC)
    ledger.cache.put("prices", "old")
    ledger.cache.put("prices", "new")
    text, fetched_at = ledger.cache.get("prices")
    assert text == "new"
    assert before <= fetched_at <= datetime.now(UTC)


def a_receipt(**given) -> Receipt:
    values = {
        "run_id": RunId("x"), "status": RunStatus.SUCCEEDED, "exit_status": 0, "instance_type": "g4dn.xlarge",
        "zone": "us-east-1a", "market": "spot", "price_usd_per_hour": 0.16, "billed_s": 90.0, "cost_usd": 0.004,
        "phases": (PhaseTime(name="boot", seconds=1.25),), "results_dir": "runs/x", "files": 1, "size_bytes": 2,
    }  # fmt: skip
    return Receipt(**{**values, **given})


def a_machine(number: int = 1, **given) -> Segment:
    values = {
        "number": number, "instance_id": f"i-{number}", "instance_type": "g4dn.xlarge", "region": "us-east-1",
        "zone": "us-east-1a", "market": "spot", "price_usd_per_hour": 0.16, "began_at": NOW,
    }  # fmt: skip
    return Segment(**{**values, **given})


def test_costs_since_are_worked_out_from_the_runs_and_their_machines(ledger, make_run):
    done = make_run("done", created_at=NOW, receipt=receipt_to_text(a_receipt()))
    live = make_run("live", created_at=NOW + timedelta(seconds=1), price_usd_per_hour=0.5)
    old = make_run("old", created_at=NOW - timedelta(days=2))
    for run in (old, done, live):
        ledger.create(run)
    ledger.begin_segment(old.run_id, a_machine(9))
    for number in (2, 1):
        ledger.begin_segment(done.run_id, a_machine(number))
    rows = ledger.costs(NOW - timedelta(days=1))
    assert [row.run for row in rows] == [done, live]
    assert [[each.number for each in row.segments] for row in rows] == [[1, 2], []]


def test_a_segment_ends_once_and_keeps_the_first_word_on_it(ledger, make_run):
    run = make_run()
    ledger.create(run)
    ledger.begin_segment(run.run_id, a_machine())
    ledger.begin_segment(run.run_id, a_machine(price_usd_per_hour=9.0))
    assert ledger.segments(run.run_id) == (a_machine(),)
    before = datetime.now(UTC)
    ledger.end_segment(run.run_id, 1, "Server.SpotInstanceTermination")
    ledger.end_segment(run.run_id, 1, "")
    (segment,) = ledger.segments(run.run_id)
    assert segment.ended_by == "Server.SpotInstanceTermination"
    assert before <= segment.ended_at <= datetime.now(UTC)


paths = st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).map(Path)


@given(st.none() | st.text(), paths, paths, paths)
def test_accounts_survive_as_text(profile, config, credentials, ssh):
    account = Account(
        profile=profile, region="us-east-1", config_file=config, credentials_file=credentials, ssh_config_file=ssh
    )
    assert account_from_text(account_to_text(account)) == account


@given(
    st.booleans(),
    st.sampled_from([status for status in RunStatus if status.final]),
    st.integers(0, 255),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_receipts_survive_as_text(with_usage, status, exit_status, ended_at):
    usage = JobUsage(
        user_s=1.5, system_s=0.5, elapsed_s=2.0, max_rss_kib=3, major_faults=0, minor_faults=9, inputs=1, outputs=2
    )
    cost = SegmentCost(
        **{column: getattr(a_machine(ended_at=ended_at), column) for column in SEGMENT_COLUMNS},
        billed_s=60, instance_usd=0.1, disk_usd=0.02, address_usd=0.003, cost_usd=0.123,
    )  # fmt: skip
    receipt = a_receipt(
        status=status, exit_status=exit_status, usage=usage if with_usage else None, segments=(cost,),
        wasted=(PhaseTime(name="boot", seconds=2.5),), instance_usd=0.1, estimate_usd=0.2, most_usd=None,
    )  # fmt: skip
    assert receipt_from_text(receipt_to_text(receipt)) == receipt


def test_receipts_of_other_versions_are_read():
    values = json.loads(receipt_to_text(a_receipt()))
    for name in ("segments", "wasted", "instance_usd", "disk_usd", "address_usd", "estimate_usd", "most_usd", "usage"):
        del values[name]
    assert receipt_from_text(json.dumps(values)) == a_receipt()
    assert receipt_from_text(json.dumps({**values, "carbon_kg": 3})) == a_receipt()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"status": "lost"}', "null"])
def test_what_is_no_receipt_is_told(text):
    with pytest.raises(LedgerError, match="a receipt cannot be read"):
        receipt_from_text(text)


def test_get_takes_whole_ids_alone(ledger, make_run):
    ledger.create(make_run("digits"))
    with pytest.raises(SpecError, match="no run 'digit'"):
        ledger.get("digit")
