"""Uploads by form are checked as S3 checks them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from launcher.agent.post import Altered, Refused, Store
from launcher.aws.client import Aws
from launcher.sandbox.control import Sandbox

PREFIX = "team/run/"


@pytest.fixture
def aws(sandbox_none: Sandbox) -> Aws:
    return Aws(sandbox_none.account)


@pytest.fixture
def bucket(aws: Aws) -> str:
    name = f"forms-{secrets.token_hex(6)}"
    aws.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def form(aws: Aws, bucket: str) -> Callable[..., dict[str, Any]]:
    def sign(where: Aws = aws, name: str = bucket, lifetime_s: int = 60) -> dict[str, Any]:
        signed = where.s3.generate_presigned_post(
            name,
            PREFIX + "${filename}",
            Conditions=[
                ["starts-with", "$key", PREFIX],
                ["starts-with", "$x-amz-checksum-sha256", ""],
                ["content-length-range", 2, 1000],
            ],
            ExpiresIn=lifetime_s,
        )
        return {"url": signed["url"], "fields": signed["fields"], "prefix": PREFIX}

    return sign


def put(form: dict[str, Any], content: bytes = b"content", digest: str | None = None) -> None:
    store = Store(form)
    try:
        store.put("deep/ü x", lambda: iter([content]), len(content), digest or sha256(content).hexdigest())
    finally:
        store.close()


def test_a_good_one_is_kept_and_may_be_written_over(aws: Aws, bucket: str, form: Any) -> None:
    put(form())
    put(form(), b"other")
    assert aws.s3.get_object(Bucket=bucket, Key=f"{PREFIX}deep/ü x")["Body"].read() == b"other"


def test_a_wrong_checksum(form: Any) -> None:
    with pytest.raises(Altered):
        put(form(), digest="0" * 64)


def test_an_expired_policy(form: Any) -> None:
    signed = form(lifetime_s=1)
    time.sleep(1.2)  # what is awaited is the clock
    with pytest.raises(Refused, match="Policy expired"):
        put(signed)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prefix": "team/other/"}, "Policy Condition failed"),
        ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"policy": ""}, "AccessDenied"),
        ({"acl": "public-read"}, "Extra input fields: acl"),
        ({"x-amz-credential": "AKIASANDBOXSANDBOX00/20260101/us-east-1/s3/aws4_request"}, "SignatureDoesNotMatch"),
    ],
)
def test_what_was_not_signed(form: Any, change: dict[str, str], told: str) -> None:
    signed = form()
    prefix = change.pop("prefix", PREFIX)
    with pytest.raises(Refused, match=told):
        put({**signed, "prefix": prefix, "fields": {**signed["fields"], **change}})


@pytest.mark.parametrize(("content", "told"), [(b"1", "EntityTooSmall"), (bytes(1001), "EntityTooLarge")])
def test_a_size_out_of_range(form: Any, content: bytes, told: str) -> None:
    with pytest.raises(Refused, match=told):
        put(form(), content)


def test_a_missing_bucket_and_one_in_another_region(aws: Aws, bucket: str, form: Any) -> None:
    with pytest.raises(Refused, match="NoSuchBucket"):
        put(form(name="no-such-bucket"))
    west = aws.at("eu-west-1")
    west.s3.create_bucket(Bucket=f"{bucket}-w", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    put(form(west, f"{bucket}-w"))
    with pytest.raises(Refused, match="expecting 'eu-west-1'"):
        put(form(aws, f"{bucket}-w"))
