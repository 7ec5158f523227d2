"""The policies as files, and the commands of the AWS CLI that put them in force."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.aws import policy
from launcher.aws.killswitch import ROLE
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Identity

LAUNCHER = "gpurun-policy.json"
TRUST = "gpurun-scheduler-trust.json"
PERMISSION = "gpurun-scheduler-policy.json"
OUTPUTS = "gpurun-outputs-policy.json"
BAKE = "gpurun-bake-policy.json"
DEPLOY = "gpurun-deploy-policy.json"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def write(
    folder: Path, identity: Identity, outputs: str | None = None, *, bake: bool = False, deploy: bool = False
) -> tuple[str, ...]:
    """Write the files for an account; gives the lines, commands and remarks, that put them in force.

    `outputs` is a bucket, or `s3://bucket/prefix`; `bake` adds what machine images need, `deploy` what schedules in
    the cloud do. Raises `SpecError` where the
    bucket is none, or the folder is no good.
    """
    partition = identity.arn.split(":")[1]
    texts = {
        LAUNCHER: policy.text(),
        TRUST: policy.text(policy.role_trust(identity.account_id)),
        PERMISSION: policy.text(policy.role_permission(identity.account_id)),
    }
    if outputs is not None:
        texts[OUTPUTS] = policy.text(policy.outputs(*_bucket(outputs)))
    if bake:
        texts[BAKE] = policy.text(policy.bake())
    if deploy:
        texts[DEPLOY] = policy.text(policy.deploy())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text.replace("arn:aws:", f"arn:{partition}:"))
    except OSError as error:
        raise SpecError(
            f"the policies cannot be written to {folder}: {error.strerror}",
            hint="gpurun doctor --print-iam OTHER_FOLDER",
        ) from error
    more = {"gpurun-outputs": OUTPUTS, "gpurun-bake": BAKE, "gpurun-deploy": DEPLOY}
    return _lines(folder, identity, partition, {name: file for name, file in more.items() if file in texts})


def _lines(folder: Path, identity: Identity, partition: str, more: dict[str, str]) -> tuple[str, ...]:
    def file(name: str) -> str:
        return shlex.quote(f"file://{folder / name}")

    policies = {"gpurun": LAUNCHER} | more
    lines = ["# what the launcher may do; with a policy of that name there already, see aws iam create-policy-version"]
    for name, document in policies.items():
        lines.append(f"aws iam create-policy --policy-name {name} --policy-document {file(document)}")
        lines.append(_attach(identity, f"arn:{partition}:iam::{identity.account_id}:policy/{name}"))
    if DEPLOY in more.values():
        lines.append("# gpurun-deploy lets its holder make roles: whoever has it can give himself what he likes")
    lines += [
        "# the kill switch in the cloud (optional): a role that can only end machines of runs",
        f"aws iam create-role --role-name {ROLE} --assume-role-policy-document {file(TRUST)}",
        f"aws iam put-role-policy --role-name {ROLE} --policy-name {ROLE} --policy-document {file(PERMISSION)}",
    ]
    return tuple(lines)


def _attach(identity: Identity, policy_arn: str) -> str:
    kind, _, name = identity.arn.split(":", 5)[5].partition("/")
    if kind == "user":
        return f"aws iam attach-user-policy --user-name {shlex.quote(_last(name))} --policy-arn {policy_arn}"
    role = name.partition("/")[0]
    if kind == "assumed-role" and not role.startswith("AWSReservedSSO_"):
        return f"aws iam attach-role-policy --role-name {shlex.quote(role)} --policy-arn {policy_arn}"
    if kind == "assumed-role":
        return f"# you come through IAM Identity Center: add {policy_arn} to your permission set there"
    return f"# you are {identity.arn}, who may do everything; attach {policy_arn} to whoever shall launch"


def _last(path: str) -> str:
    """A user's name without its path."""
    return path.rpartition("/")[2]


def _bucket(text: str) -> tuple[str, str]:
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket) or "*" in prefix or "?" in prefix:
        raise SpecError(f"{text!r} is no bucket", hint="gpurun doctor --print-iam --outputs s3://my-bucket/my-prefix")
    return bucket, prefix
