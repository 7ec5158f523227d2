"""A store in `s3://bucket/prefix`, shared by whoever may write there.

Two writers of one key cannot both win: S3 creates an object under `If-None-Match: *` once and answers the others 412
(Amazon S3 User Guide, "How to prevent object overwrites with conditional writes").
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from botocore.exceptions import ClientError

from launcher.aws.client import Aws
from launcher.aws.durable.place import find
from launcher.aws.faults import code_of
from launcher.errors import WeightsError
from launcher.registry import documents, names
from launcher.registry import entry as entries
from launcher.registry import witness as witnesses
from launcher.registry.documents import MAX_BYTES
from launcher.registry.store import MARK, MARK_CONTENT, OBJECTS, TRASH, Held
from launcher.registry.version import Version, dump
from launcher.registry.witness import Witness

THREADS = 16
SINGLE_PUT_BYTES = 1 << 30
"""What is larger goes up in parts."""
CONFLICT_ATTEMPTS = 8
LONGEST_POINTING = 1000
_MISSING = frozenset({"NoSuchKey", "404"})
_TAKEN = frozenset({"PreconditionFailed", "412"})
_BUSY = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_UNKNOWN = frozenset({"NotImplemented", "501", "InvalidArgument"})


class _Answer(StrEnum):
    """What came of a conditional write."""

    WRITTEN = "written"
    TAKEN = "taken"
    IN_DOUBT = "in doubt"
    """The condition did not hold, which may be by our own doing: the request was sent more than once."""


class _UnknownConditionError(Exception):
    """The service does not know the condition of a write; its text is the service's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A document, and the mark under which S3 knows it."""

    data: bytes
    etag: str


class Bucket:
    """`launcher.registry.store.Store` in S3."""

    def __init__(self, aws: Aws, uri: str) -> None:
        """Raises `SpecError` for a bad address and a missing bucket."""
        self._place = find(aws, uri)
        self._aws = aws.at(self._place.region)
        self._prefix = f"{self._place.prefix}/".lstrip("/")

    @property
    def uri(self) -> str:
        """The address."""
        return self._place.uri

    def prepare(self) -> None:
        """See that conditional writes are conditional; raises `WeightsError` where they are not."""
        if all(self._put_new(MARK, MARK_CONTENT) is _Answer.WRITTEN for _ in range(2)):
            raise self._unconditional("it wrote over what was there")

    def read(self, key: str) -> bytes | None:
        """A document."""
        seen = self._get(key)
        return None if seen is None else seen.data

    def read_many(self, keys: list[str]) -> list[bytes | None]:
        """Several documents, side by side."""
        if len(keys) < 2:
            return [self.read(key) for key in keys]
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(self.read, keys))

    def create(self, key: str, data: bytes) -> bool:
        """Write where nothing lies yet; whether it was ours that did."""
        answer = self._put_new(key, data)
        # Sent again after a lost answer it meets its own first: `data`, which nobody else writes, tells.
        return answer is _Answer.WRITTEN or (answer is _Answer.IN_DOUBT and self.read(key) == data)

    def keys(self, prefix: str, *, after: str = "") -> list[Held]:
        """The documents right below a prefix."""
        return [held for held in self._listed(prefix, after) if "/" not in held.key.removeprefix(prefix)]

    def models(self) -> list[str]:
        """The names that have anything."""
        with self._aws.errors(f"list {self.uri}"):
            pages = self._aws.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=self._prefix, Delimiter="/"
            )
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        return sorted(
            name for name in (each[len(self._prefix) :].rstrip("/") for each in found) if names.is_model(name)
        )

    def keep(self, source: Path, sha256: str, size_bytes: int, *, fresh_s: float) -> None:
        """Have the object; S3 itself refuses bytes that do not hash to it."""
        with self._aws.errors(f"write to {self.uri}"):
            if self._age_s(sha256, size_bytes) < fresh_s:
                return
            bucket, key = self._place.bucket, f"{self._prefix}{OBJECTS}/{sha256}"
            if size_bytes > SINGLE_PUT_BYTES:
                self._aws.s3.upload_file(str(source), bucket, key)
                return
            about = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _checksum(sha256)}
            with source.open("rb") as file:
                self._aws.s3.put_object(Bucket=bucket, Key=key, Body=file, **about)  # type: ignore[arg-type]  # texts

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether an object of that size is kept."""
        with self._aws.errors(f"look into {self.uri}"):
            return self._age_s(sha256, size_bytes) < float("inf")

    def open(self, sha256: str) -> AbstractContextManager[BinaryIO] | None:
        """An object's bytes, as they come."""
        with self._aws.errors(f"read {self.uri}"):
            try:
                answer = self._aws.s3.get_object(Bucket=self._place.bucket, Key=f"{self._prefix}{OBJECTS}/{sha256}")
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise
        return closing(cast("BinaryIO", answer["Body"]))

    def objects(self) -> list[Held]:
        """All objects."""
        return self._hashes(OBJECTS)

    def set_aside(self, sha256: str) -> None:
        """Copy an object to the trash, then remove it."""
        self._move(OBJECTS, TRASH, sha256)

    def bring_back(self, sha256: str) -> None:
        """Copy an object from the trash, then remove it there."""
        self._move(TRASH, OBJECTS, sha256)

    def forget(self, sha256: str) -> None:
        """Remove an object from the trash."""
        with self._aws.errors(f"remove from {self.uri}"):
            self._aws.s3.delete_object(Bucket=self._place.bucket, Key=f"{self._prefix}{TRASH}/{sha256}")

    def trash(self) -> list[Held]:
        """What lies in the trash."""
        return self._hashes(TRASH)

    def pointed(self, name: str) -> int | None:
        """The version that `<name>/champion/version.json` describes."""
        data = self.read(_pointer(name))
        try:
            number = documents.load(data, _pointer(name)).get("number") if data else None
        except WeightsError:
            return None  # it is derived, and is written again
        return number if documents.positive(number) else None

    def witness(self, name: str) -> Witness | None:
        """What `<name>/champion/version.json` says."""
        data = self.read(_pointer(name))
        try:
            values = documents.load(data, _pointer(name)) if data else {}
        except WeightsError:
            return None  # it is derived, and is written again
        crowned, sha256 = witnesses.told(values)
        number = values.get("number") if documents.positive(values.get("number")) else None
        if number is None and not crowned:
            return None
        return Witness(where=f"{self.uri}/{_pointer(name)}", number=number, crowned=crowned, entry=sha256)

    def point(self, version: Version, crowned: int, entry: str) -> bool:
        """Write the pointer: the version's description, and under which key each file lies.

        Pointers only go forward in the log: each is written in the place of the one that was seen, under `If-Match`.
        """
        key = _pointer(version.name)
        where = {file.name: f"{OBJECTS}/{file.sha256}" for file in version.files}
        values = {**documents.load(dump(version), str(version)), "keys": where, "crowned": crowned, "entry": entry}
        data = documents.dump(values)
        for _ in range(LONGEST_POINTING):
            seen = self._get(key)
            if seen is not None and (seen.data == data or self._is_later(version.name, seen.data, crowned)):
                return True
            condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen.etag}
            try:
                if self._put(key, data, condition, CacheControl="no-cache") is _Answer.WRITTEN:
                    return True
            except _UnknownConditionError:  # then as in a folder: who wrote it looks at the log after that
                self._put(key, data, {}, CacheControl="no-cache")
                return False
        raise AssertionError

    def check_pointed(self, version: Version) -> None:
        """Nothing more than `pointed` saw: it leads to the objects themselves."""

    def tidy(self, older_than_s: float) -> None:
        """Nothing is ever half there, and there are no folders of champions."""

    def _get(self, key: str) -> _Seen | None:
        with self._aws.errors(f"read {self.uri}/{key}"):
            try:
                answer = self._aws.s3.get_object(Bucket=self._place.bucket, Key=self._prefix + key)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > MAX_BYTES:
                    raise documents.broken(f"{self.uri}/{key}", f"it is larger than {MAX_BYTES} bytes")
                return _Seen(data=body.read(), etag=answer["ETag"])

    def _put_new(self, key: str, data: bytes) -> _Answer:
        try:
            return self._put(key, data, {"IfNoneMatch": "*"})
        except _UnknownConditionError as error:
            raise self._unconditional(f"it answers {error}") from error

    def _put(self, key: str, data: bytes, condition: Mapping[str, str], **about: str) -> _Answer:
        in_doubt = False
        with self._aws.errors(f"write to {self.uri}"):
            for attempt in range(CONFLICT_ATTEMPTS):
                try:
                    self._aws.s3.put_object(
                        Bucket=self._place.bucket,
                        Key=self._prefix + key,
                        Body=data,
                        ContentType="application/json",
                        **condition,  # type: ignore[arg-type]  # names of parameters, all of them texts
                        **about,  # type: ignore[arg-type]  # likewise
                    )
                except ClientError as error:
                    code = code_of(error)
                    # botocore sent it again by itself, after no answer, or after one that tells nothing.
                    in_doubt |= error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                    if code in _TAKEN or (code in _MISSING and "IfMatch" in condition):
                        return _Answer.IN_DOUBT if in_doubt else _Answer.TAKEN
                    if code in _UNKNOWN and condition:
                        raise _UnknownConditionError(code) from error
                    if code not in _BUSY or attempt + 1 == CONFLICT_ATTEMPTS:
                        raise
                    time.sleep(random.uniform(0, 0.04) * 2**attempt)  # noqa: S311 - dice; S3 tells no time
                else:
                    return _Answer.WRITTEN
        raise AssertionError

    def _is_later(self, name: str, data: bytes, crowned: int) -> bool:
        """Whether a pointer is of a later entry of the log, which there must be, than ours."""
        try:
            told = documents.load(data, _pointer(name)).get("crowned")
        except WeightsError:
            return False  # it is derived, and is written again
        if not isinstance(told, int) or told <= crowned:
            return False
        return self.read(entries.key(name, told)) is not None

    def _age_s(self, sha256: str, size_bytes: int) -> float:
        """How long ago the object was written; infinite where it is not there, or is another by what S3 knows of it.

        S3 tells the sha256 that came with the object; of one that went up in parts only the size can be compared.
        """
        key = f"{self._prefix}{OBJECTS}/{sha256}"
        try:
            found = self._aws.s3.head_object(Bucket=self._place.bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if code_of(error) in _MISSING:
                return float("inf")
            raise
        same = size_bytes > SINGLE_PUT_BYTES or found.get("ChecksumSHA256") == _checksum(sha256)
        whole = same and found["ContentLength"] == size_bytes
        return time.time() - found["LastModified"].timestamp() if whole else float("inf")

    def _hashes(self, part: str) -> list[Held]:
        return [
            Held(key=name, size_bytes=held.size_bytes, modified_s=held.modified_s)
            for held in self.keys(f"{part}/")
            if names.is_sha256(name := held.key.removeprefix(f"{part}/"))
        ]

    def _listed(self, prefix: str, after: str = "") -> list[Held]:
        with self._aws.errors(f"list {self.uri}"):
            pages = self._aws.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=self._prefix + prefix, StartAfter=after and self._prefix + after
            )
            return [
                Held(
                    key=each["Key"][len(self._prefix) :],
                    size_bytes=each.get("Size", 0),
                    modified_s=each["LastModified"].timestamp(),
                )
                for page in pages
                for each in page.get("Contents", [])
            ]

    def _move(self, source: str, target: str, sha256: str) -> None:
        bucket, here = self._place.bucket, f"{self._prefix}{source}/{sha256}"
        with self._aws.errors(f"move within {self.uri}"):
            try:
                # `copy` goes in parts where the object is larger than one request may copy.
                self._aws.s3.copy({"Bucket": bucket, "Key": here}, bucket, f"{self._prefix}{target}/{sha256}")
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return
                raise
            self._aws.s3.delete_object(Bucket=bucket, Key=here)

    def _unconditional(self, why: str) -> WeightsError:
        return WeightsError(
            f"{self.uri} does not keep conditional writes ({why}): two promotions could both win there",
            hint="use Amazon S3, or a service that honours If-None-Match; or a local folder: --store DIR",
        )


def _checksum(sha256: str) -> str:
    """As S3 writes it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _pointer(name: str) -> str:
    return f"{name}/champion/version.json"
