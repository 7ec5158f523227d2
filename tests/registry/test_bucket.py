"""What is particular to S3: conditions that are not kept, answers that are lost, buckets that are not there."""

from __future__ import annotations

import json

import pytest
from botocore.awsrequest import AWSPreparedRequest

from launcher.aws.client import Aws
from launcher.errors import GpurunError, SpecError, WeightsError
from launcher.registry.bucket import Bucket
from launcher.registry.registry import Registry
from tests.registry.conftest import NAME


def test_a_service_that_ignores_the_condition_is_refused(sandbox_none, uri, weights_file):
    """It writes over what is there, as S3 itself did before 2024 and many that speak its language do."""
    aws = Aws(sandbox_none.account)

    def ignorant(request: AWSPreparedRequest, **_: object) -> None:
        del request.headers["If-None-Match"]

    bucket = Bucket(aws, uri)
    bucket._aws.s3.meta.events.register("before-sign.s3.PutObject", ignorant)
    with pytest.raises(WeightsError, match="does not keep conditional writes") as error:
        Registry(bucket).add(NAME, {"weights.npz": weights_file()})
    assert "--store DIR" in error.value.hint
    assert Registry(Bucket(Aws(sandbox_none.account), uri)).names() == []
    # Whatever the store holds by then: each process looks for itself.
    again = Bucket(Aws(sandbox_none.account), uri)
    again._aws.s3.meta.events.register("before-sign.s3.PutObject", ignorant)
    with pytest.raises(WeightsError, match="does not keep conditional writes"):
        Registry(again).add(NAME, {"weights.npz": weights_file()})


def test_a_service_that_does_not_know_the_condition_is_refused(bucket, cloud, weights_file):
    cloud.fault({"match": {"service": "s3", "action": "PUT .*"}, "effect": {"error": "NotImplemented", "status": 501}})
    with pytest.raises(WeightsError, match=r"does not keep conditional writes.*NotImplemented"):
        Registry(bucket).add(NAME, {"weights.npz": weights_file()})


def test_an_answer_that_was_lost_is_no_lost_race(bucket, cloud, add):
    """botocore sends the request again, and S3 says that the key is taken: by us."""
    registry = Registry(bucket)
    for value in (1, 2):
        add(registry, value)
    registry.promote(NAME, 1)
    before = registry.history(NAME).sequence
    cloud.fault({"match": {"service": "s3", "action": "PUT .*/history/.*"}, "effect": {"drop": "after"}, "times": 1})
    change = registry.promote(NAME, 2, expected_champion=1)
    assert change.entry is not None
    assert change.entry.sequence == before + 1
    assert Registry(bucket).history(NAME).sequence == before + 1
    assert [fault["hits"] for fault in cloud.faults()] == [1]


def test_the_pointer_says_where_each_file_lies(bucket, aws, add):
    registry = Registry(bucket)
    add(registry, 1)
    registry.promote(NAME, 1)
    where = {"Bucket": bucket._place.bucket}
    found = json.loads(aws.s3.get_object(**where, Key="team/weights/digits/champion/version.json")["Body"].read())
    assert (found["number"], list(found["keys"])) == (1, ["weights.npz"])
    data = aws.s3.get_object(**where, Key=f"team/weights/{found['keys']['weights.npz']}")["Body"].read()
    assert len(data) == found["files"][0]["size_bytes"]


def test_a_pointer_that_was_altered_is_put_right(bucket, aws, add):
    registry = Registry(bucket)
    add(registry, 1)
    registry.promote(NAME, 1)
    aws.s3.put_object(Bucket=bucket._place.bucket, Key="team/weights/digits/champion/version.json", Body=b"{")
    assert registry.store.pointed(NAME) is None
    assert registry.repoint(NAME) == 1
    assert registry.store.pointed(NAME) == 1


def pointer_of(bucket: Bucket) -> dict:
    return json.loads(bucket.read(f"{NAME}/champion/version.json"))


def test_an_object_that_is_there_is_not_sent_again(bucket, cloud, weights_file, add):
    version = add(Registry(bucket), 1)
    (file,) = version.files
    for act in (lambda: None, lambda: bucket.set_aside(file.sha256), lambda: bucket.bring_back(file.sha256)):
        act()
    cloud.clear_journal()
    add(Registry(bucket), 1)
    sent = [call for call in cloud.journal() if call["action"].startswith("PUT ") and "/objects/" in call["action"]]
    assert (len(sent), bucket.has(file.sha256, file.size_bytes)) == (0, True)
    assert not bucket.has(file.sha256, file.size_bytes + 1)


def test_a_late_pointer_leaves_a_later_one_alone(bucket, sandbox_none, add):
    """Between this one's look at the pointer and its write another promotes, and points."""
    first = Registry(bucket)
    for value in (1, 2, 3):
        add(first, value)
    first.promote(NAME, 1)
    late = Bucket(Aws(sandbox_none.account), bucket.uri)
    others = [2]

    def meanwhile(request: AWSPreparedRequest, **_: object) -> None:
        if "/champion/" in request.url and others:
            Registry(bucket).promote(NAME, others.pop())

    late._aws.s3.meta.events.register("before-send.s3.PutObject", meanwhile)
    Registry(late).promote(NAME, 3)
    assert others == []
    assert (pointer_of(bucket)["number"], pointer_of(bucket)["crowned"]) == (2, 3)
    assert Registry(bucket).history(NAME).champion == 2


def test_a_service_that_knows_no_if_match_has_a_pointer_that_is_looked_after(bucket, cloud, add):
    registry = Registry(bucket)
    for value in (1, 2):
        add(registry, value)
    registry.promote(NAME, 1)
    effect = {"error": "NotImplemented", "status": 501}
    cloud.fault({"match": {"service": "s3", "action": "PUT .*/champion/.*"}, "effect": effect})
    registry.promote(NAME, 2)
    assert [fault["hits"] for fault in cloud.faults()] == [1]
    assert (pointer_of(bucket)["number"], Registry(bucket).history(NAME).champion) == (2, 2)


@pytest.mark.parametrize("changes", [{"crowned": "9"}, {"entry": None}, {"crowned": None}, {"keys": {}}])
def test_a_pointer_that_lies_about_its_place_is_put_right(bucket, aws, add, changes):
    """Also one of a gpurun whose pointers said none."""
    registry = Registry(bucket)
    for value in (1, 2):
        add(registry, value)
    registry.promote(NAME, 1)
    lie = json.dumps({**pointer_of(bucket), **changes}).encode()
    aws.s3.put_object(Bucket=bucket._place.bucket, Key="team/weights/digits/champion/version.json", Body=lie)
    assert registry.repoint(NAME) == 1
    assert (pointer_of(bucket)["number"], pointer_of(bucket)["crowned"]) == (1, 1)
    aws.s3.put_object(Bucket=bucket._place.bucket, Key="team/weights/digits/champion/version.json", Body=lie)
    registry.promote(NAME, 2)
    assert (pointer_of(bucket)["number"], pointer_of(bucket)["crowned"]) == (2, 2)


def test_a_bucket_that_is_not_there(aws):
    with pytest.raises(SpecError, match="there is no bucket no-such-bucket-here"):
        Bucket(aws, "s3://no-such-bucket-here/x")


def test_a_refusal_is_told_with_what_is_missing(bucket, cloud, weights_file):
    cloud.fault({"match": {"service": "s3", "action": "PUT .*"}, "effect": {"error": "AccessDenied"}, "times": -1})
    with pytest.raises(GpurunError, match="write to s3://") as error:
        Registry(bucket).add(NAME, {"weights.npz": weights_file()})
    assert error.value.hint


def test_folders_of_others_in_the_bucket_are_no_models(bucket, aws, add):
    registry = Registry(bucket)
    add(registry, 1)
    aws.s3.put_object(Bucket=bucket._place.bucket, Key="team/weights/Not A Model/x", Body=b"")
    aws.s3.put_object(Bucket=bucket._place.bucket, Key=f"team/weights/{NAME}/versions/notes.txt", Body=b"")
    assert registry.names() == [NAME]
    assert registry.numbers(NAME) == [1]
