"""Faults on request: which calls they strike, how often, and in what shape the client gets them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws.client import Aws
from launcher.errors import GpurunError
from launcher.sandbox.cloud.faults import FaultBook


def calls(book: FaultBook, action: str, count: int = 1, **params: str) -> list[bool]:
    return [book.for_call("ec2", action, "us-east-1", params) is not None for _ in range(count)]


@given(times=st.integers(0, 5), skip=st.integers(0, 5))
def test_a_fault_skips_then_strikes_as_often_as_asked(times: int, skip: int) -> None:
    book = FaultBook()
    book.add({"match": {"action": "Run.*"}, "effect": {"error": "X"}, "times": times, "skip": skip})
    assert calls(book, "RunInstances", 12) == [skip <= n < skip + times if times else False for n in range(12)]
    assert calls(book, "DescribeInstances") == [False]
    assert book.listed()[0]["hits"] == times


@given(seed=st.integers(0, 2**32))
def test_a_seed_makes_chance_repeatable(seed: int) -> None:
    def struck() -> list[bool]:
        book = FaultBook()
        book.add({"effect": {"error": "X"}, "times": -1, "probability": 0.5, "seed": seed})
        return calls(book, "RunInstances", 30)

    assert struck() == struck()


def test_patterns_must_fit_the_whole_value() -> None:
    book = FaultBook()
    params = {"InstanceType": r"g5\.xlarge", "AZ": "us-east-1a"}
    book.add({"match": {"params": params}, "effect": {"error": "X"}, "times": -1})
    assert calls(book, "RunInstances", InstanceType="g5.xlarge", AvailabilityZone="us-east-1a") == [True]
    assert calls(book, "RunInstances", InstanceType="g5.xlarge", AvailabilityZone="us-east-1b") == [False]
    assert calls(book, "RunInstances", InstanceType="xg5.xlarge", AvailabilityZone="us-east-1a") == [False]


@pytest.mark.parametrize(
    "rule",
    [
        {"match": {"action": "X"}},
        {"effect": {"error": "X"}, "tines": 1},
        {"effect": {"drop": "sometimes"}},
        {"match": {"action": "("}, "effect": {"error": "X"}},
        {"match": {"verb": "X"}, "effect": {"error": "X"}},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(region, rule: dict) -> None:
    with pytest.raises(GpurunError, match="the sandbox refuses"):
        region.admin.fault(rule)
    assert region.admin.faults() == []


@pytest.mark.parametrize(
    ("error", "service", "call", "code", "status"),
    [
        ("expired-credentials", "ec2", "describe_instances", "RequestExpired", 400),
        ("expired-credentials", "sts", "get_caller_identity", "ExpiredToken", 403),
        ("expired-credentials", "service-quotas", "list_service_quotas", "ExpiredTokenException", 400),
        ("expired-credentials", "s3", "list_buckets", "ExpiredToken", 403),
        ("invalid-credentials", "ec2", "describe_instances", "AuthFailure", 401),
        ("invalid-credentials", "sts", "get_caller_identity", "InvalidClientTokenId", 403),
        ("UnauthorizedOperation", "ec2", "describe_instances", "UnauthorizedOperation", 403),
        ("RequestLimitExceeded", "ec2", "describe_instances", "RequestLimitExceeded", 503),
        ("throttling", "ec2", "describe_instances", "RequestLimitExceeded", 503),
        ("RequestLimitExceeded", "sts", "get_caller_identity", "Throttling", 400),
        ("RequestLimitExceeded", "service-quotas", "list_service_quotas", "TooManyRequestsException", 429),
        ("RequestLimitExceeded", "s3", "list_buckets", "SlowDown", 503),
        ("throttling", "ssm", "describe_parameters", "ThrottlingException", 400),
        ("throttling", "scheduler", "list_schedules", "ThrottlingException", 400),
    ],
)
def test_errors_look_as_each_service_gives_them(
    region, error: str, service: str, call: str, code: str, status: int
) -> None:
    region.admin.fault({"effect": {"error": error}, "times": -1})
    more = {"ServiceCode": "ec2"} if service == "service-quotas" else {}
    with pytest.raises(ClientError) as refused:
        getattr(region.client(service), call)(**more)
    assert region.code_of(refused) == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert refused.value.response["Error"]["Message"]
    region.admin.clear_faults()
    getattr(region.client(service), call)(**more)


def test_a_shortage_names_the_zone_that_only_the_subnet_tells(region) -> None:
    params = {"AvailabilityZone": "us-east-1b", "InstanceType": r"g5\..*"}
    region.admin.fault(
        {"match": {"action": "RunInstances", "params": params}, "effect": {"error": "InsufficientInstanceCapacity"}}
    )
    subnets = region.subnets()
    region.run(InstanceType="g5.xlarge", SubnetId=subnets["us-east-1a"])
    with pytest.raises(ClientError, match=r"sufficient g5.xlarge capacity .*us-east-1b") as refused:
        region.run(InstanceType="g5.xlarge", SubnetId=subnets["us-east-1b"])
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_a_delay_delays_its_call_and_no_other(region) -> None:
    region.admin.fault({"match": {"action": "DescribeVpcs"}, "effect": {"delay_s": 0.5}})
    started = time.monotonic()
    region.ec2.describe_vpcs()
    assert time.monotonic() - started >= 0.5


def test_a_fault_holds_in_its_own_region_alone(region) -> None:
    region.admin.fault({"match": {"region": "us-west-2"}, "effect": {"error": "Unavailable"}, "times": -1})
    region.ec2.describe_instances()
    with pytest.raises(ClientError):
        region.client("ec2", "us-west-2").describe_instances()


def test_one_fault_is_lifted_and_the_others_stay(region) -> None:
    first = region.admin.fault({"match": {"action": "DescribeInstances"}, "effect": {"error": "X"}, "times": -1})
    region.admin.fault({"match": {"action": "DescribeImages"}, "effect": {"error": "X"}, "times": -1})
    region.admin.lift_fault(first["id"])
    region.ec2.describe_instances()
    with pytest.raises(ClientError):
        region.ec2.describe_images()
    with pytest.raises(GpurunError, match="no fault"):
        region.admin.lift_fault(first["id"])


def test_the_journal_tells_what_was_called_and_what_struck(region) -> None:
    region.admin.clear_journal()
    region.admin.fault({"match": {"action": "DescribeVpcs"}, "effect": {"error": "Unavailable"}})
    with pytest.raises(ClientError):
        region.ec2.describe_vpcs()
    region.ec2.describe_vpcs()
    first, second = [each for each in region.admin.journal() if each["action"] == "DescribeVpcs"]
    assert (first["fault"], first["status"]) == ("Unavailable", 503)
    assert (second["fault"], second["status"]) == ("", 200)
    assert first["region"] == "us-east-1"


def test_unknown_settings_and_instances_are_refused(region) -> None:
    with pytest.raises(GpurunError, match="unknown setting"):
        region.admin.settings(pending=1)
    with pytest.raises(GpurunError, match="no instance i-nobody"):
        region.admin.kill("i-nobody")


def test_gpurun_s_own_clients_get_through_a_storm_of_throttling(sandbox_none, region) -> None:
    aws = Aws(sandbox_none.account)
    region.admin.clear_journal()
    storm = {"effect": {"error": "throttling"}, "probability": 0.3, "seed": 7}
    with region.admin.faulty(storm):
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(lambda _: aws.ec2.describe_regions()["Regions"], range(40)))
        assert aws.identity().account_id
    assert all(seen)
    struck = [each for each in region.admin.journal() if each["fault"]]
    assert len(struck) >= 8
    assert region.admin.faults() == []


def test_credentials_expire_and_are_renewed_while_other_faults_stay(region) -> None:
    other = region.admin.fault({"match": {"action": "DescribeVpcs"}, "effect": {"error": "Unavailable"}, "times": -1})
    with region.admin.faulty({"effect": {"error": "expired-credentials"}}), pytest.raises(ClientError) as refused:
        region.ec2.describe_instances()
    assert region.code_of(refused) == "RequestExpired"
    region.ec2.describe_instances()
    assert [each["id"] for each in region.admin.faults()] == [other["id"]]
