"""Where a run's outputs lie in S3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.aws import storage

if TYPE_CHECKING:
    from launcher.aws.client import Aws

FIELD = "outputs"
"""The spec's field that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A prefix of a bucket, and the region that the bucket lies in."""

    bucket: str
    prefix: str
    region: str

    @property
    def uri(self) -> str:
        """As the spec has it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def run_prefix(self, run_id: str) -> str:
        """What all keys of a run begin with."""
        return f"{self.prefix}/{run_id}/".lstrip("/")


def find(aws: Aws, uri: str) -> Place:
    """The place, its region asked of S3; raises `SpecError` for a bad address and a missing bucket."""
    bucket, prefix = storage.parts(uri, FIELD)
    return Place(bucket=bucket, prefix=prefix.strip("/"), region=storage.region_of(aws, bucket, FIELD))
