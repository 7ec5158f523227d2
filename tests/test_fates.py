"""What `gpurun gc` would let go, and what speaks for keeping it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws.orphans import KINDS, Orphan
from launcher.commands.fates import Judge
from launcher.domain import Account, RunId, RunStatus
from launcher.ledger import RunRecord, account_to_text

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ME, OTHER = "me@laptop", "other@laptop"


def orphan(kind="instance", run_id="r1", owner=ME, deadline=None, made=NOW - 2 * HOUR, state="running"):
    tags = {"gpurun:run": run_id} if run_id else {"gpurun:bake": "b1"}
    if owner is not None:
        tags["gpurun:owner"] = owner
    if deadline is not None:
        tags["gpurun:deadline"] = deadline if isinstance(deadline, str) else deadline.isoformat()
    return Orphan(
        kind=kind, id=f"{kind}-1", region="us-east-1", run_id=run_id, name="", created_at=made, state=state, tags=tags
    )


def record(status=RunStatus.RUNNING, deadline=NOW + HOUR, run_id="r1"):
    return RunRecord(
        run_id=RunId(run_id),
        name="digits",
        status=status,
        created_at=NOW,
        updated_at=NOW,
        account=account_to_text(Account()),
        region="us-east-1",
        spec="{}",
        results_dir="runs/x",
        token="t",
        deadline_at=deadline,
    )


def goes(found, records=(), *, everybody=False):
    (first, *_) = found = found if isinstance(found, list) else [found]
    return first in Judge(owner=ME, everybody=everybody, now=NOW).doomed(found, records)


@pytest.mark.parametrize(
    ("status", "deadline", "expected"),
    [
        (RunStatus.RUNNING, NOW + HOUR, False),
        (RunStatus.RUNNING, NOW - HOUR, True),
        (RunStatus.TERMINATING, NOW + HOUR, False),
        (RunStatus.FAILED, NOW + HOUR, True),
        (RunStatus.PLANNED, None, False),
    ],
)
@pytest.mark.parametrize("owner", [ME, OTHER, None])
@pytest.mark.parametrize("everybody", [False, True])
def test_the_ledger_s_word_on_a_run_counts_first(status, deadline, expected, owner, everybody):
    found = orphan(owner=owner, deadline=NOW + HOUR)
    assert goes(found, [record(status, deadline)], everybody=everybody) is expected


@pytest.mark.parametrize(
    ("owner", "deadline", "expected"),
    [
        (ME, NOW + HOUR, True),  # the ledger is lost
        (ME, None, True),
        (OTHER, NOW + HOUR, False),
        (OTHER, None, False),
        (OTHER, NOW - HOUR, True),
        (OTHER, "soon", False),
        (OTHER, "", False),
        (None, NOW + HOUR, False),
        (None, NOW - HOUR, True),
        (None, None, False),
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "schedule"])
def test_without_a_ledger_the_tags_decide(kind, owner, deadline, expected):
    found = orphan(kind, owner=owner, deadline=deadline)
    assert goes(found) is expected
    assert goes(found, everybody=True)


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    deadline=st.one_of(
        st.none(), st.text(max_size=20), st.integers(1, 10**6).map(lambda s: NOW + timedelta(seconds=s))
    ),
    records=st.lists(st.sampled_from(["r2", "r3"]).map(lambda name: record(run_id=name)), max_size=2),
)
def test_nothing_of_another_laptop_s_living_run_ever_goes(kinds, deadline, records):
    if isinstance(deadline, str):
        deadline = f"!{deadline}"  # no text that is by chance a past time
    found = [orphan(kind, owner=OTHER, deadline=deadline) for kind in kinds]
    found += [orphan("schedule", owner=None, deadline=NOW + HOUR)]
    assert Judge(owner=ME, everybody=False, now=NOW).doomed(found, records) == []


@pytest.mark.parametrize(("owner", "expected"), [(ME, True), (OTHER, False)])
def test_a_schedule_goes_with_the_rest_of_its_run(owner, expected):
    schedule = orphan("schedule", owner=None, deadline=NOW + HOUR)
    assert goes([schedule, orphan("instance", owner=owner, deadline=NOW + HOUR)]) is expected


@pytest.mark.parametrize(("age", "expected"), [(HOUR / 2, False), (2 * HOUR, True), (None, False)])
def test_a_schedule_alone_goes_once_its_machine_would_have_to_show(age, expected):
    made = NOW - age if age else None
    assert goes(orphan("schedule", owner=None, deadline=NOW + HOUR, made=made)) is expected


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("kin", [[], [orphan("volume", owner=ME, deadline=NOW + HOUR)]])
@pytest.mark.parametrize(
    ("blind", "deadline", "expected"),
    [("us-east-1", NOW + HOUR, False), ("eu-west-1", NOW + HOUR, True), ("us-east-1", NOW - HOUR, True)],
)
def test_a_kill_switch_stays_where_machines_could_not_be_looked_for(blind, deadline, expected, kin, everybody):
    schedule = orphan("schedule", owner=None, deadline=deadline)
    judge = Judge(owner=ME, everybody=everybody, now=NOW, blind=frozenset({blind}))
    assert (schedule in judge.doomed([schedule, *kin], [])) is expected


@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [("pending", HOUR, False), ("pending", 25 * HOUR, True), ("failed", HOUR, True), ("pending", None, False)],
)
@pytest.mark.parametrize("kind", ["image", "snapshot"])
def test_an_image_that_is_being_made_has_a_day(kind, state, age, expected):
    made = NOW - age if age else None
    assert goes(orphan(kind, run_id="", state=state, made=made)) is expected
    assert not goes(orphan(kind, run_id="", state=state, made=made, owner=OTHER))
