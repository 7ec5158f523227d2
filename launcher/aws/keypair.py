"""The run's public key, as an EC2 key pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from launcher.aws import tags as tagging
from launcher.aws.faults import code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.aws.client import Aws


def name_of(run_id: str) -> str:
    """What a run's key pair is called."""
    return f"gpurun-{run_id}"


def import_key(aws: Aws, *, run_id: str, public_line: str, tags: Mapping[str, str]) -> str:
    """Import an OpenSSH public key line under the run's name, which is returned; harmless when done twice."""
    name = name_of(run_id)
    with aws.errors("import the key pair"):
        try:
            aws.ec2.import_key_pair(
                KeyName=name,
                PublicKeyMaterial=public_line.strip().encode(),
                TagSpecifications=[tagging.at_birth("key-pair", run_id, tags)],
            )
        except ClientError as error:
            if code_of(error) != "InvalidKeyPair.Duplicate":
                raise
    return name


def delete_key(aws: Aws, *, run_id: str) -> None:
    """Delete the run's key pair; EC2 says nothing when there is none."""
    with aws.errors("delete the key pair"):
        aws.ec2.delete_key_pair(KeyName=name_of(run_id))
