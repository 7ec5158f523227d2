"""A place for outputs is tried out before anything is launched, and a grant says until when it is good."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from launcher.aws import durable
from launcher.aws.client import Aws
from launcher.aws.durable import place
from launcher.errors import CredentialsError, NotPermitted, SpecError
from launcher.sandbox.control import Sandbox

SOON = timedelta(hours=4)


def check(aws: Aws, uri: str, **more: Any) -> durable.Checked:
    return durable.check(aws, uri, deadline=datetime.now(UTC) + SOON, **more)


def refuse(cloud: Any, action: str, code: str, status: int = 403) -> None:
    cloud.fault({"match": {"action": action}, "effect": {"error": code, "status": status}, "times": -1})


def test_a_good_place_has_nothing_to_tell_and_nothing_left_in_it(aws: Aws, uri: str) -> None:
    found = check(aws, uri, regions={"us-east-1"})
    assert (found.place.uri, found.place.region, found.notes) == (uri, "us-east-1", ())
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=found.place.bucket)


def test_a_bucket_that_is_missing(aws: Aws) -> None:
    with pytest.raises(SpecError, match="outputs: there is no bucket none-such-here") as caught:
        check(aws, "s3://none-such-here/x")
    assert "aws s3 mb s3://none-such-here" in caught.value.hint


def test_a_bucket_that_cannot_be_written_to(aws: Aws, uri: str, cloud: Any) -> None:
    refuse(cloud, "PostObject", "AccessDenied")
    with pytest.raises(SpecError, match=r"cannot be written to: AccessDenied") as caught:
        check(aws, uri)
    assert "s3:PutObject on arn:aws:s3:::" in caught.value.hint


def test_a_bucket_that_cannot_be_listed(aws: Aws, uri: str, cloud: Any) -> None:
    bucket = uri.split("/")[2]
    refuse(cloud, f"GET /{bucket}.*", "AccessDenied")
    with pytest.raises(NotPermitted):
        check(aws, uri)


def test_a_probe_that_may_not_be_deleted_is_no_reason_to_stop(aws: Aws, uri: str, cloud: Any) -> None:
    refuse(cloud, "DELETE .*", "AccessDenied")
    assert check(aws, uri).notes == ()


def test_another_region_works_and_costs(aws: Aws, uri: str) -> None:
    west = aws.at("eu-west-1")
    bucket = uri.split("/")[2].replace("outputs", "west")
    west.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    found = check(aws, f"s3://{bucket}", regions={"us-east-1", "eu-west-1"})
    assert found.place.region == "eu-west-1"
    (note,) = found.notes
    assert "eu-west-1" in note
    assert "us-east-1" in note
    assert "0.02 USD" in note


def policy_of(grant: durable.Grant) -> Any:
    return json.loads(base64.b64decode(grant.form["fields"]["policy"]))


def test_a_grant_outlives_the_deadline_and_opens_one_prefix(aws: Aws, uri: str) -> None:
    deadline = datetime.now(UTC) + SOON
    grant = durable.mint(aws, place.find(aws, uri), "run-1", segment=3, deadline=deadline)
    assert grant.expires_at > deadline
    assert grant.warning(deadline) == ""
    policy = policy_of(grant)
    assert ["starts-with", "$key", "team/digits/run-1/"] in policy["conditions"]
    assert abs(datetime.fromisoformat(policy["expiration"]) - grant.expires_at) < timedelta(seconds=5)
    assert grant.form["segment"] == 3
    assert "policy" not in repr(grant)


def test_a_long_run_is_told_that_seven_days_are_the_limit(aws: Aws, uri: str) -> None:
    deadline = datetime.now(UTC) + timedelta(days=20)
    grant = durable.mint(aws, place.find(aws, uri), "run-1", segment=1, deadline=deadline)
    assert timedelta(days=6, hours=23) < grant.expires_at - datetime.now(UTC) < timedelta(days=7)
    assert "seven days" in grant.warning(deadline)
    assert f"{grant.expires_at:%Y-%m-%d %H:%M}" in grant.warning(deadline)
    assert durable.check(aws, uri, deadline=deadline).notes == (grant.warning(deadline),)


@pytest.fixture
def temporary(sandbox_none: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An account whose credentials end, as those of a role or of IAM Identity Center."""

    def make(lifetime: timedelta) -> Aws:
        end = datetime.now(UTC) + lifetime
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASANDBOXSANDBOX00")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
        monkeypatch.setenv("AWS_ENDPOINT_URL", sandbox_none.endpoint_url)
        from launcher.domain import Account

        return Aws(Account(region="us-east-1"))

    return make


def test_temporary_credentials_cut_a_grant_short_and_that_is_told(temporary: Any, uri: str) -> None:
    aws, deadline = temporary(timedelta(hours=1)), datetime.now(UTC) + SOON
    grant = durable.mint(aws, place.find(aws, uri), "run-1", segment=1, deadline=deadline)
    assert grant.expires_at - datetime.now(UTC) < timedelta(hours=1)
    assert "your temporary AWS credentials end" in grant.warning(deadline)


def test_credentials_that_do_not_end_cut_nothing(aws: Aws) -> None:
    assert aws.credentials_end() is None


def test_credentials_that_have_ended(aws: Aws, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = place.find(aws, uri)
    monkeypatch.setattr(Aws, "credentials_end", lambda _: datetime.now(UTC) - SOON)
    with pytest.raises(CredentialsError):
        durable.mint(aws, there, "run-1", segment=1, deadline=datetime.now(UTC) + SOON)
