"""Which generations of a run lie in S3."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from launcher.aws.durable import place
from launcher.aws.durable.generation import Generation, parse
from launcher.errors import TransferError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import Place

MAX_MANIFEST_BYTES = 256 << 20
THREADS = 8
_MANIFEST = re.compile(r"(\d{4,})-\d+\.json")


def newest(aws: Aws, uri: str, run_id: str) -> Generation | None:
    """The newest generation of the run there; `None` where nothing was ever sent.

    Raises `SpecError` for a missing bucket, `NotPermitted`, and `TransferError` where all that lies there is broken.
    """
    return next(iter(generations(aws, uri, run_id)), None)


def superseded(aws: Aws, uri: str, run_id: str, last: Generation) -> list[str]:
    """The keys of every manifest but that of `last`; raises as `newest` does."""
    there = place.find(aws, uri)
    names = manifests(aws, there, run_id)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda name: name[0] == last.segment and _read(aws, there, run_id, name[1]) == last, names)
        return [key for (_, key), is_last in zip(names, found, strict=True) if not is_last]


def generations(aws: Aws, uri: str, run_id: str) -> list[Generation]:
    """Those of the last machine that sent any that can be read, the newest first; raises as `newest` does."""
    there = place.find(aws, uri)
    names = manifests(aws, there, run_id)
    broken: list[TransferError] = []
    for last in sorted({segment for segment, _ in names}, reverse=True):
        keys = [key for segment, key in names if segment == last]
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda key: _read(aws, there, run_id, key), keys))
        whole = [each for each in found if isinstance(each, Generation)]
        if whole:
            return sorted(whole, key=lambda each: each.number, reverse=True)
        broken += [each for each in found if isinstance(each, TransferError)]
    if broken:
        raise broken[0]
    return []


def manifests(aws: Aws, there: Place, run_id: str) -> list[tuple[int, str]]:
    """The segment and key of every manifest."""
    here = aws.at(there.region)
    prefix = f"{there.run_prefix(run_id)}generations/"
    with here.errors(f"list {there.uri}"):
        keys = [
            each["Key"]
            for page in here.s3.get_paginator("list_objects_v2").paginate(Bucket=there.bucket, Prefix=prefix)
            for each in page.get("Contents", [])
        ]
    matches = [(_MANIFEST.fullmatch(key.removeprefix(prefix)), key) for key in keys]
    return [(int(match[1]), key) for match, key in matches if match]


def _read(aws: Aws, there: Place, run_id: str, key: str) -> Generation | TransferError:
    here = aws.at(there.region)
    with here.errors(f"read s3://{there.bucket}/{key}"):
        answer = here.s3.get_object(Bucket=there.bucket, Key=key)
        if answer["ContentLength"] > MAX_MANIFEST_BYTES:
            return TransferError(f"s3://{there.bucket}/{key} is too large for a manifest")
        text = answer["Body"].read()
    try:
        return parse(text, run_id)
    except TransferError as error:
        return error
