import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws import storage
from launcher.errors import SpecError


@pytest.fixture
def bucket(aws):
    aws.s3.create_bucket(Bucket="some-data")

    def put(**objects):
        for key, body in objects.items():
            aws.s3.put_object(Bucket="some-data", Key=key, Body=body)

    put(**{"mnist/train": b"12345", "mnist/deep/test": b"1", "mnist/": b"", "mnist2/other": b"no"})
    return put


def names(found):
    return [each.name for each in found]


def test_every_object_below_the_prefix(aws, bucket):
    for uri in ("s3://some-data/mnist", "s3://some-data/mnist/"):
        found = storage.presign(aws, uri, 60)
        assert names(found) == ["deep/test", "train"]
        assert [each.size_bytes for each in found] == [1, 5]


def test_the_links_open_without_credentials(aws, bucket):
    found = storage.presign(aws, "s3://some-data/mnist", 60)
    assert urllib.request.urlopen(found[1].url, timeout=5).read() == b"12345"
    assert parse_qs(urlsplit(found[1].url).query)["X-Amz-Expires"] == ["60"]


def test_a_lifetime_over_the_limit_is_cut(aws, bucket):
    (found,) = storage.presign(aws, "s3://some-data/mnist2", 10**9)
    assert parse_qs(urlsplit(found.url).query)["X-Amz-Expires"] == [str(storage.MAX_LIFETIME_S)]


def test_one_object(aws, bucket):
    assert names(storage.presign(aws, "s3://some-data/mnist/train", 60)) == ["train"]


def test_the_whole_bucket(aws, bucket):
    assert names(storage.presign(aws, "s3://some-data", 60)) == ["mnist/deep/test", "mnist/train", "mnist2/other"]


def test_a_bucket_in_another_region(aws, bucket):
    aws.at("eu-west-1").s3.create_bucket(
        Bucket="far-data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    aws.at("eu-west-1").s3.put_object(Bucket="far-data", Key="x", Body=b"1")
    (found,) = storage.presign(aws, "s3://far-data", 60)
    assert "eu-west-1" in parse_qs(urlsplit(found.url).query)["X-Amz-Credential"][0]


@pytest.mark.parametrize("uri", ["s3://some-data/nothing", "s3://some-data/mnis", "s3://no-such-bucket/x"])
def test_nothing_there(aws, bucket, uri):
    with pytest.raises(SpecError) as caught:
        storage.presign(aws, uri, 60)
    assert caught.value.hint.startswith("aws s3 ls")


@pytest.mark.parametrize("uri", ["s3://", "https://x/y", "some-data/x", "s3:///x"])
def test_no_s3_address(aws, uri):
    with pytest.raises(SpecError) as caught:
        storage.presign(aws, uri, 60)
    assert "s3://BUCKET/PREFIX" in caught.value.hint


@pytest.mark.parametrize("name", ["bad/../../escape", "bad//absolute", "bad/./x", "bad/a\\b"])
def test_names_that_would_leave_the_folder(aws, bucket, name):
    bucket(**{name: b""})
    with pytest.raises(SpecError) as caught:
        storage.presign(aws, "s3://some-data/bad", 60)
    assert "data folder" in caught.value.message


@given(
    st.lists(st.sampled_from(["a", "..", ".", "", "b c", "\n", "é", "x\\y", "~"]), min_size=1, max_size=5).map("/".join)
)
def test_a_name_that_passes_stays_below_the_folder(rest):
    try:
        name = storage.relative_name(f"p/{rest}", "p", "s3://b/p")
    except SpecError:
        return
    folder = Path("/data")
    assert (folder / name).resolve().is_relative_to(folder)
    assert (folder / name).resolve() != folder
    assert name.isprintable()
