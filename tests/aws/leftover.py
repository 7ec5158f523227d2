"""What older versions of gpurun made for a run, and this one still clears away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.aws import tags as tagging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.aws.client import Aws


def leave_key_pair(aws: Aws, run_id: str, tags: Mapping[str, str]) -> str:
    """An EC2 key pair under the run's name, which is returned."""
    name = f"gpurun-{run_id}"
    aws.ec2.create_key_pair(KeyName=name, TagSpecifications=[tagging.at_birth("key-pair", run_id, tags)])
    return name
