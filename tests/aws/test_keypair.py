import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from launcher.aws import keypair
from launcher.errors import BrokenRequest


@pytest.fixture(scope="module")
def public_line():
    key = Ed25519PrivateKey.generate().public_key()
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_bytes(*form).decode() + " me@laptop\n"


def test_imported_with_the_runs_name_and_tags(aws, public_line):
    name = keypair.import_key(aws, run_id="r1", public_line=public_line, tags={"gpurun:owner": "me"})
    (found,) = aws.ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
    assert found["PublicKey"].split()[1] == public_line.split()[1]
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == {"gpurun:owner": "me", "gpurun:run": "r1"}


def test_twice_is_once(aws, public_line):
    first = keypair.import_key(aws, run_id="r1", public_line=public_line, tags={})
    assert keypair.import_key(aws, run_id="r1", public_line=public_line, tags={}) == first
    assert len(aws.ec2.describe_key_pairs()["KeyPairs"]) == 1


def test_deleted_and_deleted_again(aws, public_line):
    keypair.import_key(aws, run_id="r1", public_line=public_line, tags={})
    keypair.import_key(aws, run_id="r2", public_line=public_line, tags={})
    keypair.delete_key(aws, run_id="r1")
    keypair.delete_key(aws, run_id="r1")
    assert [each["KeyName"] for each in aws.ec2.describe_key_pairs()["KeyPairs"]] == [keypair.name_of("r2")]


def test_a_key_that_ec2_does_not_take(aws):
    with pytest.raises(BrokenRequest) as caught:
        keypair.import_key(aws, run_id="r1", public_line="garbage", tags={})
    assert "ssh-keygen -t ed25519" in caught.value.hint
