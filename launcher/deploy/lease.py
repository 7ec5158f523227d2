"""Whose turn it is: of all machines of a schedule one at a time holds its lease, in S3, by conditional writes alone.

Leases are numbered; the next number can be written once (`If-None-Match: *`), and only when the one before was given
back, its time is up, or its machine is gone. Each holder writes the schedule's ledger under its own number: one that
outlives its lease overwrites nothing of the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws.faults import code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.aws.client import Aws

LEASES = "leases/"
DONE = ".done"
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One, held or not."""

    number: int
    holder: str
    """An instance id."""
    tick: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where a schedule's leases are given out."""

    aws: Aws
    bucket: str
    prefix: str
    """Of the schedule's folder."""

    def newest(self) -> tuple[Lease | None, bool]:
        """The newest lease, and whether it was given back; `None` where there never was one."""
        keys = self._keys()
        numbers = [int(key) for key in keys if key.isdecimal()]
        if not numbers:
            return None, True
        number = max(numbers)
        return self._read(number), f"{number:08d}{DONE}" in keys

    def take(
        self,
        holder: str,
        tick: str,
        until: datetime,
        now: datetime,
        *,
        gone: Callable[[str], bool] = lambda _holder: False,
    ) -> Lease | Held:
        """The next lease, or who has it; `gone` says of a holder that it is no more, and will give nothing back."""
        before, given_back = self.newest()
        if before is not None and not given_back and before.until > now and not gone(before.holder):
            return Held(lease=before)
        mine = Lease(number=before.number + 1 if before else 1, holder=holder, tick=tick, until=until)
        body = json.dumps({"holder": holder, "tick": tick, "until": until.isoformat()}).encode()
        if self._create(f"{mine.number:08d}", body):
            return mine
        there = self._read(mine.number)
        # An answer that was lost, and the request sent again: what lies there may be our own.
        return mine if there.holder == holder else Held(lease=there)

    def give_back(self, lease: Lease) -> None:
        """Let the next one have it."""
        self._create(f"{lease.number:08d}{DONE}", b"")

    def _keys(self) -> set[str]:
        whole = f"{self.prefix}{LEASES}"
        with self.aws.errors("look for the schedule's lease"):
            pages = self.aws.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=whole)
            return {each["Key"].removeprefix(whole) for page in pages for each in page.get("Contents", [])}

    def _read(self, number: int) -> Lease:
        with self.aws.errors("read the schedule's lease"):
            answer = self.aws.s3.get_object(Bucket=self.bucket, Key=f"{self.prefix}{LEASES}{number:08d}")
            found = json.loads(answer["Body"].read())
        return Lease(
            number=number,
            holder=str(found["holder"]),
            tick=str(found["tick"]),
            until=datetime.fromisoformat(found["until"]),
        )

    def _create(self, name: str, body: bytes) -> bool:
        """Write where nothing lies yet; whether it was we who did."""
        key = f"{self.prefix}{LEASES}{name}"
        with self.aws.errors("take the schedule's lease"):
            try:
                self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) not in _TAKEN:
                    raise
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Another machine has it."""

    lease: Lease
