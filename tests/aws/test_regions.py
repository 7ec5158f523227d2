"""Plans over several regions: whoever is slow, closed or broken is told in one line, and the rest is used."""

import json
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from launcher.aws import abreast, offers, regions
from launcher.domain import Requirements, SpotPolicy
from launcher.errors import CredentialsError, NotPermitted, ProvisionError, SpecError

T4 = Requirements(instance_types=("g4dn.xlarge",))
TWO = replace(T4, regions=("us-east-1", "eu-west-1"))


def regions_xml(statuses):
    items = "".join(
        f"<item><regionName>{name}</regionName><optInStatus>{status}</optInStatus></item>"
        for name, status in statuses.items()
    )
    return (
        "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    )


def only_in(region, answer):
    """Answer so in one region, and the truth in the others."""
    return lambda asked: answer() if asked["signed_for"] == region else None


def seen(found):
    return {offer.region for offer in found.offers}


@pytest.fixture
def stuck(monkeypatch):
    """An answer that does not come until the test is over."""
    monkeypatch.setattr(abreast, "MIN_PATIENCE_S", 1.0)
    gate = threading.Event()

    def wait():
        gate.wait(60)
        return 503, ""

    yield wait
    gate.set()


def test_a_slow_region_is_left_out_and_told(aws, kept, cloud, stuck):
    offers.survey(aws, T4, kept)  # moto is slow at first; the region's client is made
    cloud.answer("DescribeInstanceTypes", only_in("eu-west-1", stuck))
    began = time.monotonic()
    found = offers.survey(aws, TWO, kept)
    assert time.monotonic() - began < 10
    assert seen(found) == {"us-east-1"}
    (note,) = found.notes
    assert note.startswith("eu-west-1 is left out: EC2 in eu-west-1 does not answer in time")
    assert "\n" not in note


def test_a_slow_region_is_planned_with_what_it_said_before(aws, kept, cloud, stuck):
    before = offers.survey(aws, TWO, kept)
    kept.age(timedelta(minutes=40))
    cloud.answer("DescribeSpotPriceHistory", only_in("eu-west-1", stuck))
    found = offers.survey(aws, TWO, kept)
    assert len(found.offers) == len(before.offers)
    assert found.silent == {"eu-west-1"}
    assert found.notes == ("EC2 in eu-west-1 does not answer: its figures are 40 min old",)


def test_a_region_that_fails_is_left_out_with_the_next_step(aws, kept, cloud):
    no = cloud.error_xml("UnauthorizedOperation", "not authorized to perform: ec2:DescribeInstanceTypes")
    cloud.answer("DescribeInstanceTypes", only_in("eu-west-1", lambda: (403, no)))
    found = offers.survey(aws, TWO, kept)
    assert seen(found) == {"us-east-1"}
    (note,) = found.notes
    assert "eu-west-1 is left out" in note
    assert "ec2:DescribeInstanceTypes" in note.partition("next: ")[2]


def test_a_region_that_is_not_enabled_is_left_out(aws, kept, cloud):
    there = {"us-east-1": "opt-in-not-required", "af-south-1": "not-opted-in"}
    cloud.answer("DescribeRegions", lambda _: (200, regions_xml(there)))
    found = offers.survey(aws, replace(T4, regions=("us-east-1", "af-south-1")), kept)
    assert seen(found) == {"us-east-1"}
    (note,) = found.notes
    assert note.endswith("next: aws account enable-region --region-name af-south-1")


def test_a_region_enabled_since_the_list_was_kept_is_used(aws, kept, cloud):
    there = {"us-east-1": "opt-in-not-required", "eu-west-1": "not-opted-in"}
    cloud.answer("DescribeRegions", lambda _: (200, regions_xml(there)))
    assert seen(offers.survey(aws, TWO, kept)) == {"us-east-1"}
    cloud.answer("DescribeRegions", lambda _: (200, regions_xml(there | {"eu-west-1": "opted-in"})))
    assert seen(offers.survey(aws, TWO, kept)) == {"us-east-1", "eu-west-1"}


def test_a_region_that_does_not_exist_is_a_mistake_even_beside_good_ones(aws, kept, cloud):
    with pytest.raises(SpecError, match="us-east-9"):
        offers.survey(aws, replace(T4, regions=("us-east-1", "us-east-9")), kept)


def test_a_type_that_one_region_lacks_is_no_mistake_where_another_has_it(aws, kept, cloud):
    there = {"us-east-1": "opt-in-not-required", "eu-west-1": "opt-in-not-required"}
    cloud.answer("DescribeRegions", lambda _: (200, regions_xml(there)))
    nothing = (
        "<DescribeInstanceTypesResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><instanceTypeSet/>"
        "</DescribeInstanceTypesResponse>"
    )
    cloud.answer("DescribeInstanceTypes", only_in("eu-west-1", lambda: (200, nothing)))
    found = offers.survey(aws, TWO, kept)
    assert seen(found) == {"us-east-1"}
    assert "eu-west-1 does not offer g4dn.xlarge" in found.notes[0]
    with pytest.raises(SpecError) as caught:
        offers.survey(aws, replace(T4, regions=("eu-west-1",)), kept)
    assert "more regions" in caught.value.hint


def test_all_means_every_enabled_region(aws, kept, cloud):
    there = dict.fromkeys(("us-east-1", "eu-west-1", "us-west-2"), "opt-in-not-required") | {"af-south-1": regions.OFF}
    cloud.answer("DescribeRegions", lambda _: (200, regions_xml(there)))
    found = offers.survey(aws, replace(T4, regions=("all",)), kept)
    assert seen(found) == {"us-east-1", "eu-west-1", "us-west-2"}
    assert found.notes == ()
    assert len(cloud.asked("DescribeRegions")) == 1


def test_zones_keep_other_regions_from_being_asked(aws, kept, cloud):
    found = offers.survey(aws, replace(TWO, zones=("eu-west-1b",)), kept)
    assert {offer.zone for offer in found.offers} == {"eu-west-1b"}
    assert found.notes == ()
    assert {each["signed_for"] for each in cloud.asked("DescribeInstanceTypes")} == {"eu-west-1"}


def test_where_no_region_has_anything_each_says_why(aws, kept, cloud):
    cloud.refuse("DescribeInstanceTypes", "UnauthorizedOperation", "not authorized to perform: ec2:X", 403)
    with pytest.raises(NotPermitted) as caught:
        offers.survey(aws, TWO, kept)
    assert "us-east-1" in caught.value.message
    assert "eu-west-1" in caught.value.message


def test_bad_credentials_are_told_as_such(aws, kept, cloud):
    cloud.refuse("DescribeInstanceTypes", "AuthFailure", "not able to validate", 401)
    with pytest.raises(CredentialsError):
        offers.survey(aws, T4, kept)


def test_a_slow_price_list_costs_the_snapshot_and_not_the_plan(aws, kept, cloud, stuck):
    offers.survey(aws, replace(T4, spot=SpotPolicy.SPOT), kept)
    kept.texts = {key: value for key, value in kept.texts.items() if not key.startswith("on-demand")}
    cloud.answer("GetProducts", lambda _: stuck())
    found = offers.survey(aws, replace(T4, spot=SpotPolicy.PREFER_SPOT), kept)
    assert {offer.on_demand_usd_per_hour for offer in found.offers} == {0.526}


def test_a_throttled_region_is_planned_from_the_cache_whatever_its_age(aws, kept, cloud):
    offers.survey(aws, T4, kept)
    kept.age(timedelta(days=30))
    cloud.refuse("DescribeInstanceTypes", "RequestLimitExceeded", "slowly", 503)
    cloud.refuse("DescribeSpotPriceHistory", "RequestLimitExceeded", "slowly", 503)
    found = offers.survey(aws, T4, kept)
    assert found.offers
    assert found.notes == ("EC2 in us-east-1 does not answer: its figures are 30 days old",)


def test_without_an_answer_and_without_a_cache_there_is_nothing(aws, kept, cloud):
    cloud.refuse("DescribeInstanceTypes", "RequestLimitExceeded", "slowly", 503)
    with pytest.raises(ProvisionError) as caught:
        offers.survey(aws, T4, kept)
    assert type(caught.value) is ProvisionError


def test_what_is_kept_is_json_that_other_versions_can_pass_over(aws, kept):
    offers.survey(aws, TWO, kept)
    assert all(json.loads(text) is not None for text, _ in kept.texts.values())
