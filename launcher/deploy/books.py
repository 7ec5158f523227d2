"""The ledger of a deployed schedule, kept in S3: its ticks, its runs and what it has considered, as on a laptop."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from launcher.deploy.lease import Desk, Held, Lease
from launcher.ledger import Ledger, ScheduleRecord, TickRecord
from launcher.owner import owner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.aws.client import Aws

LEDGERS = "ledgers/"
MERGED_WITHIN = timedelta(minutes=5)
KEPT = 3
"""The ledgers of so many leases stay."""


def bring(aws: Aws, bucket: str, prefix: str, path: Path) -> int | None:
    """Fetch the newest ledger into a file; gives its lease's number, `None` where there is none yet."""
    number = max(_numbers(aws, bucket, prefix), default=None)
    if number is None:
        return None
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.fetched")
    with aws.errors("fetch the schedule's ledger"):
        aws.s3.download_file(bucket, _key(prefix, number), str(draft))
    draft.replace(path)
    return number


def keep(aws: Aws, bucket: str, prefix: str, path: Path, number: int) -> None:
    """Write the ledger as it is now under a lease's number."""
    draft = path.with_name(f".{path.name}.copy")
    draft.unlink(missing_ok=True)
    # A copy in one transaction: the file itself may be in the middle of one.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(draft),))
    with closing(sqlite3.connect(draft)) as copy, copy:
        # Secrets, which each machine has from the schedule itself: what lies in S3 outlives it.
        copy.execute("UPDATE schedules SET options = json_remove(options, '$.notify')")
    with closing(sqlite3.connect(draft)) as copy:
        copy.execute("VACUUM")
    with aws.errors("keep the schedule's ledger"):
        aws.s3.put_object(Bucket=bucket, Key=_key(prefix, number), Body=draft.read_bytes())
    draft.unlink()


def prune(aws: Aws, bucket: str, prefix: str) -> None:
    """Remove all ledgers but the last few."""
    with aws.errors("remove old ledgers"):
        for number in sorted(_numbers(aws, bucket, prefix))[:-KEPT]:
            aws.s3.delete_object(Bucket=bucket, Key=_key(prefix, number))


def _numbers(aws: Aws, bucket: str, prefix: str) -> list[int]:
    whole = f"{prefix}{LEDGERS}"
    with aws.errors("look for the schedule's ledger"):
        pages = aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=whole)
        names = [each["Key"].removeprefix(whole) for page in pages for each in page.get("Contents", [])]
    return [int(name.removesuffix(".db")) for name in names if name.removesuffix(".db").isdecimal()]


def _key(prefix: str, number: int) -> str:
    return f"{prefix}{LEDGERS}{number:08d}.db"


def merge(desk: Desk, schedule: ScheduleRecord, ticks: Iterable[TickRecord], now: datetime) -> Lease | None:
    """Have the schedule's ledger in S3 know it and these ticks, and owe nothing from before now.

    Gives the lease of a machine that is at work meanwhile: it owns the ledger, and nothing is written.
    """
    lease = desk.take(owner(), "", now + MERGED_WITHIN, now)
    if isinstance(lease, Held):
        return lease.lease
    try:
        with TemporaryDirectory(prefix="gpurun-ledger-") as folder:
            path = Path(folder, "ledger.db")
            bring(desk.aws, desk.bucket, desk.prefix, path)
            with Ledger.open(path) as book:
                enter(book, schedule)
                book.ticks.adopt(ticks)
                book.schedules.considered(schedule.name, now)
            keep(desk.aws, desk.bucket, desk.prefix, path, lease.number)
    finally:
        desk.give_back(lease)
    return None


def enter(book: Ledger, schedule: ScheduleRecord) -> ScheduleRecord:
    """The schedule as it was deployed last, with what it has considered until now."""
    if schedule.name in [each.name for each in book.schedules.list()]:
        book.schedules.renew(schedule)
    else:
        book.schedules.add(schedule)
    return book.schedules.get(schedule.name)
