"""Under which role a machine acts, and the credentials that its metadata service gives it.

Source: EC2 User Guide, "Retrieve security credentials from instance metadata".
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from launcher.sandbox.cloud.account import EC2
from launcher.sandbox.cloud.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One machine's instance profile, moto's record of it."""

    world: World
    instance_id: str
    profile: Any

    def leaves(self) -> dict[str, bytes]:
        """What the metadata service has below `meta-data/iam/`."""
        info = {"InstanceProfileArn": self.profile.arn, "InstanceProfileId": self.profile.id}
        found = {"meta-data/iam/info": _document("Success", time.time(), info)}
        with self.world.lock:
            for role in self.profile.roles:
                found[f"meta-data/iam/security-credentials/{role.name}"] = self._credentials(role.arn)
        return found

    def _credentials(self, role_arn: str) -> bytes:
        if not self.world.account.assumable(role_arn, EC2, {}):
            words = f"EC2 cannot assume the role {role_arn.rpartition('/')[2]}."
            return _document("AssumeRoleUnauthorizedAccess", time.time(), {"Message": words})
        session = self.world.sessions.lend(role_arn, self.instance_id)
        lent = {
            "Type": "AWS-HMAC",
            "AccessKeyId": session.access_key,
            "SecretAccessKey": session.secret_key,
            "Token": session.token,
            "Expiration": _iso(session.ends),
        }
        return _document("Success", session.began, lent)


def give(world: World, instances: list[Any], profile: Any) -> None:
    """Have instances that were just launched act under a profile's role; nothing where there is none."""
    for instance in instances if profile is not None else ():
        instance.identity = Identity(world=world, instance_id=instance.id, profile=profile)
        instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}


def _document(code: str, moment: float, rest: dict[str, str]) -> bytes:
    return json.dumps({"Code": code, "LastUpdated": _iso(moment), **rest}, indent=2).encode()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
