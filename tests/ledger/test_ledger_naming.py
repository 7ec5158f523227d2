"""What runs are called, and which one a user means."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import SpecError
from launcher.ledger import new_run_id

NOW = datetime(2026, 11, 20, tzinfo=UTC)
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True)


@given(names)
def test_every_name_gives_a_label_that_dns_takes(name):
    run_id = new_run_id(name)
    assert len(run_id) <= 63
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", run_id)
    assert re.fullmatch(re.escape(name) + r"-\d{8}-\d{6}-[0-9a-z]{5}", run_id)


def test_ids_made_in_one_second_differ():
    assert len({new_run_id("digits") for _ in range(500)}) == 500


def test_ids_carry_the_time_in_utc():
    before = datetime.now(UTC).replace(microsecond=0)
    stamp = new_run_id("x")[2:17]
    assert before <= datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=UTC) <= datetime.now(UTC)


@pytest.fixture
def four(ledger, make_run):
    """mnist, then digits twice, then cats: from the oldest to the newest."""
    ids = ["mnist-20261118-100000-aaaaa", "digits-20261119-100000-bbbbb", "digits-20261120-100000-ccccc", "cats-1"]
    for age, run_id in zip((4, 3, 2, 1), ids, strict=True):
        name = run_id.split("-")[0]
        ledger.create(make_run(name, run_id=run_id, created_at=NOW - timedelta(days=age)))
    return ids


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (None, 3), ("", 3), ("last", 3), ("cats", 3), ("digits", 2), ("mnist", 0),
        ("digits-20261119-100000-bbbbb", 1), ("digits-20261119", 1), ("mn", 0), ("c", 3),
    ],
)  # fmt: skip
def test_a_run_is_found_by_what_users_type(ledger, four, text, index):
    assert ledger.resolve(text).run_id == four[index]


def test_a_beginning_of_several_is_refused_with_their_ids(ledger, four):
    with pytest.raises(SpecError, match="2 runs begin with 'dig'") as caught:
        ledger.resolve("dig")
    assert four[1] in caught.value.message
    assert four[2] in caught.value.message


def test_an_unknown_run_is_told_with_the_nearest_name(ledger, four):
    with pytest.raises(SpecError, match="no run 'digist'; did you mean digits") as caught:
        ledger.resolve("digist")
    assert caught.value.hint == "list them with `gpurun status --all`"


def test_without_runs_the_first_step_is_told(ledger):
    with pytest.raises(SpecError, match="no run yet") as caught:
        ledger.resolve("last")
    assert "gpurun launch" in caught.value.hint


def test_a_percent_sign_is_no_wildcard(ledger, four):
    with pytest.raises(SpecError, match="no run '%'"):
        ledger.resolve("%")
