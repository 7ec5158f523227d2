"""What machines have sent to S3, read by somebody who uses none of gpurun's code: plain boto3 and the manifests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tests.faults.observer import step_in

MANIFEST = re.compile(r"(\d{4,})-\d+\.json")
FORMS_LAST_S = 240.0
"""A content that no newer generation needs may be written over after five minutes: docs/outputs.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A generation of outputs: its manifest says that all of it was there when the manifest was written."""

    segment: int
    number: int
    step: int
    """Of the furthest checkpoint or weights in it."""
    broken: tuple[str, ...]
    """What of it is missing, or is another content than the manifest tells."""


class Bucket:
    """A bucket in the sandbox cloud, made here and emptied in the end."""

    def __init__(self, s3: Any, name: str, region: str) -> None:
        self._s3 = s3
        self._name = name
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})

    @property
    def uri(self) -> str:
        """What a spec says for it."""
        return f"s3://{self._name}/team"

    def sent(self, run_id: str, right: list[str]) -> list[Sent]:
        """The generations of the last machine that sent any, each judged piece by piece, the newest first."""
        prefix = f"team/{run_id}/"
        keys = self._keys(f"{prefix}generations/")
        segments = [int(match[1]) for key in keys if (match := MANIFEST.fullmatch(key.rpartition("/")[2]))]
        if not segments:
            return []
        told = [json.loads(self._read(key)) for key in keys if f"/{max(segments):04d}-" in key]
        told.sort(key=lambda each: each["number"], reverse=True)
        recent = [each for each in told if each["at"] > told[0]["at"] - FORMS_LAST_S]
        return [self._judged(each, prefix, right) for each in recent]

    def remove(self) -> None:
        """The bucket and all that is in it."""
        for key in self._keys(""):
            self._s3.delete_object(Bucket=self._name, Key=key)
        self._s3.delete_bucket(Bucket=self._name)

    def _judged(self, told: dict[str, Any], prefix: str, right: list[str]) -> Sent:
        broken: list[str] = []
        steps = [0]
        for name, kind, size_bytes, _, _, _, chunks in [*told["checkpoint"], *told["output"]]:
            data = b"".join(self._piece(prefix, chunk, broken) for chunk in chunks)
            if kind == "f" and len(data) != size_bytes:
                broken.append(f"{name} has {len(data)} bytes, not {size_bytes}")
            if name.endswith(".bin"):
                step = step_in(data, right)
                steps.append(step or 0)
                broken += [] if step is not None else [f"{name} is of no step"]
        for _, *chunk in told["log"]["chunks"]:
            self._piece(prefix, chunk, broken)
        return Sent(segment=told["segment"], number=told["number"], step=max(steps), broken=tuple(broken))

    def _piece(self, prefix: str, chunk: list[Any], broken: list[str]) -> bytes:
        key, digest, size_bytes = chunk
        try:
            data = self._read(prefix + key)
        except self._s3.exceptions.NoSuchKey:
            broken.append(f"{key} is not there")
            return b""
        if sha256(data).hexdigest() != digest or len(data) != size_bytes:
            broken.append(f"{key} is another content")
        return data

    def _keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def _read(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self._name, Key=key)["Body"].read())
