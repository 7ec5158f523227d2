"""Which data made the weights: one digest of everything that a place holds, names included."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import GpurunError
from launcher.registry import code
from launcher.sync.local import ignore, tree

if TYPE_CHECKING:
    from launcher.aws.client import Aws


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a place held; equal digests mean equal names and contents."""

    place: str
    sha256: str
    """Of a folder: `code.digest`; of S3: of the lines "name size ETag", which S3 gives without a download."""
    files: int
    size_bytes: int
    newest_at: datetime | None
    """When something in it was last written."""


def fingerprint(place: Path | str, aws: Aws | None = None) -> Fingerprint:
    """Look at a folder, a file or an `s3://bucket/prefix`.

    Raises `SpecError` where there is nothing, and for S3 what AWS answers.
    """
    if isinstance(place, str) and place.startswith("s3://"):
        return _in_s3(place, aws)
    # As it goes up: what the user leaves out makes no difference.
    scan = tree.scan(Path(place), ignore=ignore.rules(Path(place)))
    files = [item for item in scan.items if item.kind == "f"]
    newest_ns = max((item.mtime_ns for item in files), default=0)
    return Fingerprint(
        place=str(place),
        sha256=code.digest(scan),
        files=len(files),
        size_bytes=scan.size_bytes,
        newest_at=datetime.fromtimestamp(newest_ns / 1e9, UTC) if newest_ns else None,
    )


def describe(place: Path | str | None, launched_at: datetime, aws: Aws | None) -> tuple[dict[str, Any], list[str]]:
    """A run's data for a version's pedigree, and what is to be noted of it; never fails."""
    if place is None:
        return {}, []
    try:
        found = fingerprint(place, aws)
    except (GpurunError, OSError) as error:
        return {"place": str(place)}, [f"the data could not be looked at: {error}"]
    facts = {"place": found.place, "sha256": found.sha256, "files": found.files, "size_bytes": found.size_bytes}
    late = found.newest_at is not None and found.newest_at > launched_at
    return facts, ["the data has changed since the launch: its digest is of what is there now"] if late else []


def _in_s3(uri: str, aws: Aws | None) -> Fingerprint:
    from launcher.aws import storage  # noqa: PLC0415 - boto3 is for those alone whose data is there
    from launcher.aws.client import Aws as AnyAws  # noqa: PLC0415 - likewise
    from launcher.domain import Account  # noqa: PLC0415 - likewise

    bucket, prefix = storage.parts(uri)
    known = aws or AnyAws(Account())
    here = known.at(storage.region_of(known, bucket))
    whole, files, size_bytes, newest = hashlib.sha256(), 0, 0, None
    with here.errors(f"list {uri}"):
        for page in here.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", []):
                if not _belongs(each["Key"], prefix):
                    continue
                line = f"{storage.relative_name(each['Key'], prefix, uri)}\0{each.get('Size', 0)} {each['ETag']}\n"
                whole.update(line.encode())
                files, size_bytes = files + 1, size_bytes + each.get("Size", 0)
                newest = max(newest or each["LastModified"], each["LastModified"])
    return Fingerprint(place=uri, sha256=whole.hexdigest(), files=files, size_bytes=size_bytes, newest_at=newest)


def _belongs(key: str, prefix: str) -> bool:
    """Whether it lies under the prefix as a folder, or is the one object of that name; folder markers are nothing."""
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    return (key == prefix or key.startswith(folder)) and not key.endswith("/")
