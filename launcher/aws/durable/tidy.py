"""What no newest generation needs, deleted: storage is billed until somebody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.aws.durable import place
from launcher.aws.durable.newest import generations, superseded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

    from launcher.aws.client import Aws

BATCH = 1000
"""Of one DeleteObjects call (Amazon S3 API Reference)."""


def tidy(aws: Aws, uri: str, run_id: str) -> int:
    """Delete the run's objects and manifests that its newest generation does not need; says how many.

    Only for a run whose machines are gone: one that lives may need them next. `results/` is never touched. Raises
    `NotPermitted` without s3:DeleteObject.
    """
    there = place.find(aws, uri)
    found = generations(aws, uri, run_id)
    if not found:
        return 0
    last, prefix, here = found[0], there.run_prefix(run_id), aws.at(there.region)
    chunks = [chunk for item in (*last.checkpoint, *last.output) for chunk in item.chunks]
    needed = {f"{prefix}{chunk.key}" for chunk in (*chunks, *last.log)}
    # Manifests first, and answered for: none may ever name an object that is not there.
    old = superseded(aws, uri, run_id, last)
    with here.errors(f"tidy {there.uri}"):
        _delete(here, there.bucket, old)
        pages = here.s3.get_paginator("list_objects_v2").paginate(Bucket=there.bucket, Prefix=f"{prefix}objects/")
        gone = [each["Key"] for page in pages for each in page.get("Contents", []) if each["Key"] not in needed]
        _delete(here, there.bucket, gone)
    return len(old) + len(gone)


def _delete(aws: Aws, bucket: str, keys: Sequence[str]) -> None:
    for start in range(0, len(keys), BATCH):
        batch: Sequence[ObjectIdentifierTypeDef] = [{"Key": key} for key in keys[start : start + BATCH]]
        aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
