"""New data in a bucket, told from listings alone."""

from __future__ import annotations

from datetime import timedelta

from launcher.aws.client import Aws
from launcher.ledger import TickStatus
from launcher.schedule import watch
from tests.schedule.conftest import BEGIN, Desk

PLACE = "s3://gpurun-new-data/digits"


def test_objects_that_change_are_new_data(desk: Desk, sandbox_none, monkeypatch) -> None:
    aws = Aws(sandbox_none.account)
    monkeypatch.setattr(desk, "no_cloud", lambda _schedule: aws)
    put = {"Bucket": "gpurun-new-data", "Key": "digits/a"}
    aws.s3.create_bucket(Bucket=put["Bucket"])
    aws.s3.put_object(**put, Body=b"one")
    sha256 = watch.contents(PLACE, lambda: aws)
    desk.add(cron="", data=PLACE, data_seen=sha256, data_sha256=sha256)
    now = BEGIN

    def look() -> list[str]:
        nonlocal now
        now += timedelta(minutes=6)
        return [f"{tick.cause} {tick.status}" for tick in desk.run_due(now)]

    assert look() == []
    aws.s3.put_object(**put, Body=b"two")
    assert desk.run_due(now + timedelta(minutes=1)) == ()
    assert [look(), look(), look()] == [[], ["data taken"], []]
    desk.finish(TickStatus.SUCCEEDED)
    aws.s3.delete_object(**put)
    assert [look(), look()] == [["data failed"], []]
    assert PLACE in desk.ticks()[-1].reason
