"""Data that lies in S3: each object as a link that a machine without credentials can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of
from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3.type_defs import ObjectTypeDef

    from launcher.aws.client import Aws

MAX_LIFETIME_S = 7 * 24 * 3600
"""Of a presigned link (Amazon S3 User Guide, "Download and upload objects with presigned URLs")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObject:
    """One object to fetch."""

    name: str
    """Relative to the prefix that was asked for, with `/` between its parts."""
    url: str
    size_bytes: int


def presign(aws: Aws, uri: str, expires_s: int) -> list[RemoteObject]:
    """Every object under `s3://bucket/prefix` (or the one that it names), with a link good for `expires_s` seconds.

    Raises `SpecError` for a bad address, a missing bucket or prefix, and an object whose name would leave the data
    folder; `NotPermitted` where S3 refuses.
    """
    bucket, prefix = parts(uri)
    here = aws.at(region_of(aws, bucket))
    lifetime_s = min(int(expires_s), MAX_LIFETIME_S)
    with here.errors(f"list {uri}"):
        found = [
            RemoteObject(
                name=relative_name(each["Key"], prefix, uri),
                url=here.s3.generate_presigned_url(
                    "get_object", Params={"Bucket": bucket, "Key": each["Key"]}, ExpiresIn=lifetime_s
                ),
                size_bytes=each.get("Size", 0),
            )
            for each in _objects(here, bucket, prefix)
        ]
    if not found:
        raise SpecError(f"data: {uri} has no objects", hint=f"aws s3 ls {uri}")
    return found


def download(aws: Aws, bucket: str, prefix: str, folder: Path) -> int:
    """Every object below a prefix into a folder, under its own name; gives how many.

    Raises `SpecError` for names that are none.
    """
    uri = f"s3://{bucket}/{prefix}"
    with aws.errors(f"fetch {uri}"):
        keys = [each["Key"] for each in _objects(aws, bucket, prefix)]
        for key in keys:
            place = folder / relative_name(key, prefix, uri)
            place.parent.mkdir(parents=True, exist_ok=True)
            aws.s3.download_file(bucket, key, str(place))
    return len(keys)


def parts(uri: str, field: str = "data") -> tuple[str, str]:
    """Bucket and prefix; raises `SpecError`, which names the spec's `field`."""
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise SpecError(f"{field}: {uri!r} is no S3 address", hint="s3://BUCKET/PREFIX")
    return bucket, prefix


def region_of(aws: Aws, bucket: str, field: str = "data") -> str:
    """Where the bucket lies, for a link is good in its own region only; raises `SpecError` where there is none."""
    with aws.errors(f"look up bucket {bucket}"):
        try:
            return aws.s3.head_bucket(Bucket=bucket).get("BucketRegion") or aws.region
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 404 or code_of(error) in {"NoSuchBucket", "404"}:
                raise SpecError(
                    f"{field}: there is no bucket {bucket}", hint=f"aws s3 ls, or aws s3 mb s3://{bucket}"
                ) from error
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = str(headers.get("x-amz-bucket-region", ""))
            if region and status in {301, 400, 403}:
                return region
            raise


def _objects(aws: Aws, bucket: str, prefix: str) -> Iterator[ObjectTypeDef]:
    """The objects under the prefix as a folder, or the one of that very name; folder markers left out."""
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    for page in aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for each in page.get("Contents", []):
            if (each["Key"] == prefix or each["Key"].startswith(folder)) and not each["Key"].endswith("/"):
                yield each


def relative_name(key: str, prefix: str, uri: str) -> str:
    """The object's name below the prefix; raises `SpecError` for one that is no plain relative path."""
    name = PurePosixPath(key).name if key == prefix else key.removeprefix(prefix).removeprefix("/")
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in name or not name.isprintable():
        raise SpecError(
            f"data: {uri} holds an object named {key!r}, which cannot be a file's name below the data folder",
            hint="rename the object, or give a prefix without it",
        )
    return name
