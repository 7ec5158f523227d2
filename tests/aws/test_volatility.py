"""How restless prices are, and how likely EC2 thinks a request is to succeed: courtesies, both."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws import placement, prices
from launcher.aws.prices import realised_volatility

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TYPES = ["g4dn.xlarge", "g5.xlarge", "g6.xlarge"]


def series(*values):
    return [(NOW + timedelta(hours=index), value) for index, value in enumerate(values)]


def history_xml(rows):
    items = "".join(
        f"<item><instanceType>{name}</instanceType><availabilityZone>{zone}</availabilityZone>"
        f"<spotPrice>{price}</spotPrice><timestamp>{at:%Y-%m-%dT%H:%M:%S}.000Z</timestamp></item>"
        for name, zone, at, price in rows
    )
    return (
        "<DescribeSpotPriceHistoryResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<spotPriceHistorySet>{items}</spotPriceHistorySet></DescribeSpotPriceHistoryResponse>"
    )


def scores_xml(**scores):
    items = "".join(
        f"<item><region>{name.replace('_', '-')}</region><score>{score}</score></item>"
        for name, score in scores.items()
    )
    return (
        "<GetSpotPlacementScoresResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<spotPlacementScoreSet>{items}</spotPlacementScoreSet></GetSpotPlacementScoresResponse>"
    )


def test_one_rise_by_a_tenth_in_three_days():
    assert realised_volatility(series(0.2, 0.22), timedelta(days=3)) == pytest.approx(math.log(1.1) / math.sqrt(3))


def test_a_price_that_stands_still_has_none_and_neither_has_one_alone():
    assert realised_volatility(series(0.2, 0.2, 0.2), timedelta(days=3)) == 0
    assert realised_volatility(series(0.2), timedelta(days=3)) == 0
    assert realised_volatility(series(0.0, 0.2), timedelta(days=3)) == 0


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=30), st.floats(0.01, 100))
def test_the_currency_and_the_order_of_the_rows_do_not_matter(values, factor):
    plain = realised_volatility(series(*values), timedelta(days=3))
    scaled = realised_volatility(series(*(value * factor for value in values)), timedelta(days=3))
    assert scaled == pytest.approx(plain, rel=1e-6, abs=1e-9)
    assert realised_volatility(series(*values)[::-1], timedelta(days=3)) == plain


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=30), st.floats(0.001, 100))
def test_another_move_never_calms_it(values, more):
    before = realised_volatility(series(*values), timedelta(days=3))
    assert realised_volatility(series(*values, more), timedelta(days=3)) >= before


def test_each_pool_has_its_own_from_three_days_of_history(aws, kept, cloud):
    rows = [
        ("g4dn.xlarge", "us-east-1a", NOW, 0.2),
        ("g4dn.xlarge", "us-east-1a", NOW + timedelta(hours=6), 0.3),
        ("g4dn.xlarge", "us-east-1b", NOW, 0.2),
    ]
    cloud.answer("DescribeSpotPriceHistory", lambda _: (200, history_xml(rows)))
    found = prices.volatility(aws, ["g4dn.xlarge"], kept)
    assert found == {
        "g4dn.xlarge/us-east-1a": pytest.approx(math.log(1.5) / math.sqrt(3)),
        "g4dn.xlarge/us-east-1b": 0,
    }
    (asked,) = cloud.asked("DescribeSpotPriceHistory")
    since = datetime.fromisoformat(asked["StartTime"])
    assert abs(datetime.now(UTC) - since - prices.HISTORY) < timedelta(minutes=1)


def test_only_types_that_are_new_or_long_known_are_asked_for(aws, kept, cloud):
    prices.volatility(aws, TYPES[:2], kept)
    prices.volatility(aws, TYPES, kept)
    prices.volatility(aws, TYPES, kept)
    asked = cloud.asked("DescribeSpotPriceHistory")
    assert [each.get("InstanceType.1") for each in asked] == ["g4dn.xlarge", "g6.xlarge"]


def test_without_permission_nothing_is_known_and_nothing_breaks(aws, kept, cloud):
    cloud.refuse("DescribeSpotPriceHistory", "UnauthorizedOperation", status=403)
    assert prices.volatility(aws, TYPES, kept) == {}


def test_old_figures_do_where_new_ones_cannot_be_had(aws, kept, cloud, monkeypatch):
    cloud.answer("DescribeSpotPriceHistory", lambda _: (200, history_xml([("g5.xlarge", "us-east-1a", NOW, 0.4)])))
    assert prices.volatility(aws, ["g5.xlarge"], kept) == {"g5.xlarge/us-east-1a": 0}
    monkeypatch.setattr(prices, "VOLATILITY_MAX_AGE", timedelta(0))
    cloud.refuse("DescribeSpotPriceHistory", "UnauthorizedOperation", status=403)
    assert prices.volatility(aws, ["g5.xlarge"], kept) == {"g5.xlarge/us-east-1a": 0}


def test_scores_come_in_one_call_for_all_regions_and_are_kept(aws, kept, cloud):
    cloud.answer("GetSpotPlacementScores", lambda _: (200, scores_xml(us_east_1=3, eu_west_1=9)))
    for _ in range(2):
        assert placement.scores(aws, ["us-east-1", "eu-west-1"], TYPES, kept) == {"us-east-1": 3, "eu-west-1": 9}
    (asked,) = cloud.asked("GetSpotPlacementScores")
    assert (asked["RegionName.1"], asked["RegionName.2"], asked["TargetCapacity"]) == ("eu-west-1", "us-east-1", "1")


def test_for_few_types_no_score_is_asked_for_since_it_would_be_low_whatever_there_is(aws, kept, cloud):
    assert placement.scores(aws, ["us-east-1"], TYPES[:2], kept) == {}
    assert cloud.asked("GetSpotPlacementScores") == []


def test_a_refused_score_is_asked_for_once_and_not_again_for_a_while(aws, kept, cloud):
    cloud.refuse("GetSpotPlacementScores", "UnauthorizedOperation", status=403)
    for _ in range(3):
        assert placement.scores(aws, ["us-east-1"], TYPES, kept) == {}
    assert len(cloud.asked("GetSpotPlacementScores")) == 1
    kept.age(timedelta(hours=2))
    placement.scores(aws, ["us-east-1"], TYPES, kept)
    assert len(cloud.asked("GetSpotPlacementScores")) == 2


def test_a_server_that_fails_is_asked_once(aws, kept, cloud):
    cloud.refuse("GetSpotPlacementScores", "InternalError", status=500)
    assert placement.scores(aws, ["us-east-1"], TYPES, kept) == {}
    assert len(cloud.asked("GetSpotPlacementScores")) == 1
