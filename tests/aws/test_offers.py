from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws import catalog, offers, prices
from launcher.domain import Market, Offer, Requirements, SpotPolicy
from launcher.errors import NoCapacity, NotPermitted, PriceTooHigh, ProvisionError, SpecError

ONE_GPU = Requirements(gpu_count=1)
T4 = Requirements(instance_types=("g4dn.xlarge",))


def kinds(found):
    return {offer.gpu.kind for offer in found if offer.gpu}


def test_gpu_offers_in_both_markets(aws, kept):
    found = offers.find(aws, ONE_GPU, kept)
    assert {"t4", "a10g", "l4"} <= kinds(found)
    assert {offer.market for offer in found} == {Market.SPOT, Market.ON_DEMAND}
    assert all(offer.architecture == "x86_64" and offer.region == "us-east-1" for offer in found)
    assert found == sorted(found, key=lambda each: each.price_usd_per_hour)


def test_an_offer_is_described(aws, kept):
    found = offers.find(aws, T4, kept)
    offer = next(each for each in found if each.market is Market.ON_DEMAND)
    assert (offer.vcpus, offer.memory_bytes) == (4, 16 << 30)
    assert (offer.gpu.kind, offer.gpu.count, offer.gpu.memory_bytes) == ("t4", 1, 16 << 30)
    assert offer.zone.startswith("us-east-1")


@pytest.mark.parametrize("name", ["a10g", "A10G", "NVIDIA A10G", "nvidia-a10g", "A10"])
def test_gpu_kinds_are_normalised(aws, kept, name):
    found = offers.find(aws, Requirements(gpu_kind=name), kept)
    assert kinds(found) == {"a10g"}
    assert {offer.instance_type.partition(".")[0] for offer in found} == {"g5"}


@pytest.mark.parametrize(
    ("requirements", "holds"),
    [
        (Requirements(gpu_count=4), lambda each: each.gpu.count >= 4),
        (Requirements(gpu_memory_bytes=40 << 30), lambda each: each.gpu.memory_bytes >= 40 << 30),
        (Requirements(gpu_count=1, vcpus=32), lambda each: each.vcpus >= 32),
        (Requirements(gpu_count=1, memory_bytes=100 << 30), lambda each: each.memory_bytes >= 100 << 30),
        (Requirements(gpu_count=1, zones=("us-east-1b",)), lambda each: each.zone == "us-east-1b"),
        (Requirements(gpu_count=1, spot=SpotPolicy.SPOT), lambda each: each.market is Market.SPOT),
        (Requirements(gpu_count=1, spot=SpotPolicy.ON_DEMAND), lambda each: each.market is Market.ON_DEMAND),
        (Requirements(vcpus=2, memory_bytes=4 << 30), lambda each: each.gpu is None and each.vcpus >= 2),
        (Requirements(instance_types=("g5g.xlarge",)), lambda each: each.architecture == "arm64"),
        (Requirements(instance_types=("g4dn.*",)), lambda each: each.instance_type.startswith("g4dn.")),
    ],
)
def test_every_requirement_is_kept(aws, kept, requirements, holds):
    found = offers.find(aws, requirements, kept)
    assert found
    assert all(holds(offer) for offer in found)


def test_the_smallest_cpu_machines_are_among_the_offers(aws, kept):
    found = offers.find(aws, Requirements(vcpus=2, memory_bytes=4 << 30), kept)
    assert "t3.medium" in {offer.instance_type for offer in found}


def test_few_calls_and_none_when_kept(aws, kept, cloud):
    first = offers.find(aws, T4, kept)
    assert sorted(set(cloud.calls)) == [
        "DescribeInstanceTypeOfferings",
        "DescribeInstanceTypes",
        "DescribeSpotPriceHistory",
        "GetProducts",
    ]
    asked = len(cloud.calls)
    again = offers.find(aws, T4, kept)
    assert len(cloud.calls) == asked
    assert [(o.instance_type, o.zone, o.price_usd_per_hour) for o in again] == [
        (o.instance_type, o.zone, o.price_usd_per_hour) for o in first
    ]
    assert {o.source for o in again if o.market is Market.SPOT} == {"cache"}


@pytest.mark.parametrize(
    ("age", "asked"),
    [
        (timedelta(minutes=4), set()),
        (timedelta(minutes=6), {"DescribeSpotPriceHistory"}),
        (timedelta(days=2), {"DescribeSpotPriceHistory", "GetProducts"}),
        (
            timedelta(days=8),
            {"DescribeSpotPriceHistory", "GetProducts", "DescribeInstanceTypes", "DescribeInstanceTypeOfferings"},
        ),
    ],
)
def test_each_answer_ages_at_its_own_pace(aws, kept, cloud, age, asked):
    cloud.prices({"g4dn.xlarge": 0.5})
    offers.find(aws, T4, kept)
    kept.age(age)
    cloud.calls.clear()
    offers.find(aws, T4, kept)
    assert set(cloud.calls) == asked


def test_a_spoiled_cache_is_fetched_anew(aws, kept, cloud):
    offers.find(aws, T4, kept)
    kept.texts = {key: ("{", at) for key, (_, at) in kept.texts.items()}
    assert offers.find(aws, T4, kept)


def test_two_clouds_share_no_prices(aws, kept):
    offers.find(aws, T4, kept)
    assert all(f"/{aws.endpoint}/us-east-1/" in key for key in kept.texts)


def test_the_price_list_is_read(aws, kept, cloud):
    cloud.prices({"g4dn.xlarge": 0.4321, "g5.xlarge": 9.0})
    found = [each for each in offers.find(aws, T4, kept) if each.market is Market.ON_DEMAND]
    assert {(o.price_usd_per_hour, o.on_demand_usd_per_hour, o.source) for o in found} == {(0.4321, 0.4321, "live")}
    (asked,) = cloud.asked("GetProducts")
    fields = {each["Field"]: each["Value"] for each in asked["Filters"]}
    assert fields["regionCode"] == "us-east-1"
    assert fields["instanceType"] == "g4dn.xlarge"


@pytest.mark.parametrize("strange", [{"operating_system": "Windows"}, {"region": "eu-west-1"}])
def test_prices_of_other_products_are_left_aside(aws, kept, cloud, strange):
    cloud.prices({"g4dn.xlarge": 0.4321}, **strange)
    assert {each.market for each in offers.find(aws, T4, kept)} == {Market.SPOT}


def test_without_the_price_list_the_dated_snapshot_counts(aws, kept, cloud):
    found = [each for each in offers.find(aws, T4, kept) if each.market is Market.ON_DEMAND]
    assert {(each.price_usd_per_hour, each.source) for each in found} == {(0.526, "snapshot")}
    assert {each.priced_at for each in found} == {prices.snapshot("us-east-1").priced_at}
    asked = len(cloud.asked("GetProducts"))
    offers.find(aws, T4, kept)
    assert len(cloud.asked("GetProducts")) == asked, "an API that refused is left alone for a while"


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-west-1"])
def test_the_snapshot_is_plausible(region):
    known = prices.snapshot(region).usd_per_hour
    assert {"g4dn.xlarge", "g5.xlarge", "p3.2xlarge", "c7i.large", "m7i.large", "t3.micro"} <= set(known)
    assert all(0.001 < price < 120 for price in known.values())
    for family in ("c7i", "m7i"):
        assert known[f"{family}.2xlarge"] == pytest.approx(2 * known[f"{family}.xlarge"], rel=1e-3)


def test_the_latest_spot_price_of_a_pool_counts(aws, kept, cloud):
    rows = "".join(
        f"<item><instanceType>g4dn.xlarge</instanceType><availabilityZone>us-east-1a</availabilityZone>"
        f"<spotPrice>{price}</spotPrice><timestamp>{at}</timestamp></item>"
        for price, at in (
            ("0.3", "2026-11-20T10:00:00.000Z"),
            ("0.2", "2026-11-20T12:00:00.000Z"),
            ("0.4", "2026-11-19T12:00:00.000Z"),
        )
    )
    body = (
        "<DescribeSpotPriceHistoryResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<spotPriceHistorySet>{rows}</spotPriceHistorySet></DescribeSpotPriceHistoryResponse>"
    )
    cloud.answer("DescribeSpotPriceHistory", lambda _: (200, body))
    found = [each for each in offers.find(aws, T4, kept) if each.market is Market.SPOT]
    assert [(each.zone, each.price_usd_per_hour) for each in found] == [("us-east-1a", 0.2)]


def test_several_regions(aws, kept):
    found = offers.find(aws, replace(T4, regions=("us-east-1", "eu-west-1")), kept)
    assert {each.region for each in found} == {"us-east-1", "eu-west-1"}
    assert all(each.zone.startswith(each.region) for each in found)
    by_region = {each.region: each.price_usd_per_hour for each in found if each.market is Market.ON_DEMAND}
    assert by_region == {"us-east-1": 0.526, "eu-west-1": 0.587}


def test_a_region_that_does_not_exist(aws, kept):
    with pytest.raises(SpecError) as caught:
        offers.find(aws, replace(T4, regions=("us-east-9",)), kept)
    assert "us-east-9" in caught.value.message
    assert "eu-west-1" in caught.value.message
    assert "did you mean us-east-" in caught.value.hint


def test_an_endpoint_that_is_not_of_aws(aws, kept, cloud):
    cloud.answer("DescribeInstanceTypes", lambda _: (200, "<!doctype html><p>Sign in to the hotel's network"))
    with pytest.raises(ProvisionError) as caught:
        offers.find(aws, T4, kept)
    assert "us-east-1" in caught.value.message
    assert "network" in caught.value.hint


def test_a_region_that_is_not_enabled(aws, kept, cloud):
    items = "".join(
        f"<item><regionName>{name}</regionName><optInStatus>{status}</optInStatus></item>"
        for name, status in (("us-east-1", "opt-in-not-required"), ("af-south-1", "not-opted-in"))
    )
    body = (
        "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
        f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    )
    cloud.answer("DescribeRegions", lambda _: (200, body))
    with pytest.raises(NotPermitted) as caught:
        offers.find(aws, replace(T4, regions=("af-south-1",)), kept)
    assert caught.value.hint == "aws account enable-region --region-name af-south-1"


@pytest.mark.parametrize(
    ("requirements", "kind", "said", "hinted"),
    [
        (Requirements(gpu_kind="z9"), NoCapacity, "gpu kind z9", "a10g"),
        (Requirements(gpu_count=64), NoCapacity, "gpu count >= 64", "gpurun offers"),
        (Requirements(gpu_kind="t4", gpu_memory_bytes=80 << 30), NoCapacity, "gpu memory >= 80 GiB", "gpurun offers"),
        (Requirements(vcpus=9000), NoCapacity, "vcpus >= 9000", "gpurun offers"),
        (Requirements(gpu_count=1, zones=("us-east-1z",)), SpecError, "us-east-1z", "us-east-1a"),
        (Requirements(instance_types=("g4dn.xlarge", "g5.xlrge")), SpecError, "g5.xlrge", "g5.xlarge"),
    ],
)
def test_what_excluded_everything_is_told(aws, kept, requirements, kind, said, hinted):
    with pytest.raises(kind) as caught:
        offers.find(aws, requirements, kept)
    assert said in caught.value.message
    assert hinted in caught.value.hint


def test_nothing_has_a_price(aws, kept):
    with pytest.raises(NoCapacity) as caught:
        offers.find(aws, Requirements(instance_types=("p5en.48xlarge",), spot=SpotPolicy.ON_DEMAND), kept)
    assert "p5en.48xlarge" in caught.value.message


def test_the_price_cap(aws, kept):
    cheapest = offers.find(aws, replace(T4, spot=SpotPolicy.ON_DEMAND), kept, max_price_usd_per_hour=0.526)
    assert cheapest
    with pytest.raises(PriceTooHigh) as caught:
        offers.find(aws, replace(T4, spot=SpotPolicy.ON_DEMAND), kept, max_price_usd_per_hour=0.5)
    assert "0.5260" in caught.value.hint


PRICES = st.lists(st.floats(0.001, 100), min_size=1, max_size=30)


@given(PRICES, st.none() | st.floats(0.001, 100))
def test_the_cap_keeps_exactly_what_is_under_it_in_order(all_prices, cap):
    made = [_offer(index, price) for index, price in enumerate(all_prices)]
    wanted = sorted(price for price in all_prices if cap is None or price <= cap)
    if not wanted:
        with pytest.raises(PriceTooHigh, match=f"{min(all_prices):.4f}"):
            offers.under_cap(made, cap)
        return
    assert [each.price_usd_per_hour for each in offers.under_cap(made, cap)] == wanted


def _offer(index: int, price: float) -> Offer:
    return Offer(
        instance_type=f"g{index}.xlarge",
        region="us-east-1",
        zone="us-east-1a",
        market=Market.SPOT,
        price_usd_per_hour=price,
        on_demand_usd_per_hour=None,
        vcpus=4,
        memory_bytes=1 << 30,
        architecture="x86_64",
        gpu=None,
        priced_at=prices.snapshot("us-east-1").priced_at,
        source="live",
    )


def test_types_survive_the_cache(aws, kept):
    first = catalog.machine_types(aws, ("g4dn.*",), kept)
    assert first
    assert catalog.machine_types(aws, ("g4dn.*",), kept) == first
