"""The sandbox's account as `gpurun doctor --print-iam` would set one up, and what its roles permit.

Calls of users are all allowed; whoever acts under a role is held to its policies (`authority`).
"""

from __future__ import annotations

import json
from typing import Any

from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.policies import Context, Need, many, objection, statements

ROLE = "gpurun-scheduler"
SCHEDULER = "scheduler.amazonaws.com"
EC2 = "ec2.amazonaws.com"
TRUST: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "SchedulerOfThisAccount",
            "Effect": "Allow",
            "Principal": {"Service": SCHEDULER},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
    ],
}
PERMISSION: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "EndMachinesOfRuns",
            "Effect": "Allow",
            "Action": "ec2:TerminateInstances",
            "Resource": f"arn:aws:ec2:*:{ACCOUNT}:instance/*",
            "Condition": {"Null": {"aws:ResourceTag/gpurun:run": "false"}},
        }
    ],
}


class Account:
    """The roles, in moto's IAM; the caller holds the lock that guards moto."""

    def __init__(self) -> None:
        self._open = False

    def open(self) -> Any:
        """moto's IAM, with the role made the first time: its import takes half a second."""
        from moto.iam.models import iam_backends  # noqa: PLC0415 - slow, and few ask

        backend = iam_backends[ACCOUNT]["aws"]
        if not self._open:
            self._open = True
            backend.create_role(
                role_name=ROLE,
                assume_role_policy_document=json.dumps(TRUST),
                path="/",
                permissions_boundary=None,
                description="Ends machines of gpurun at their deadline",
                tags=[],
                max_session_duration="3600",
            )
            backend.put_role_policy(ROLE, ROLE, json.dumps(PERMISSION))
        return backend

    def assumable(self, role_arn: str, service: str, context: Context) -> bool:
        """Whether a service may take that role."""
        role = self._role(role_arn)
        if role is None:
            return False
        found = statements(role.assume_role_policy_document)
        own = [each for each in found if _names(each.get("Principal"), service)]
        trust = json.dumps({"Statement": own})
        return not objection([trust], Need(action="sts:AssumeRole", resource=role_arn, context=context))

    def objection(self, role_arn: str, need: Need) -> str:
        """Why the role's policies do not permit it; empty where they do."""
        role = self._role(role_arn)
        if role is None:
            return "because the role is gone"
        if role.permissions_boundary:
            return "because the sandbox cannot judge permissions boundaries"
        managed = (policy.document for policy in role.managed_policies.values())
        return objection([*role.policies.values(), *managed], need)

    def role_id(self, role_arn: str) -> str:
        """The unique id that IAM gave the role; empty where the role is gone."""
        role = self._role(role_arn)
        return str(role.id) if role is not None else ""

    def _role(self, role_arn: str) -> Any:
        return next((role for role in self.open().roles.values() if role.arn == role_arn), None)


def _names(principal: object, service: str) -> bool:
    return principal == "*" or (isinstance(principal, dict) and service in many(principal.get("Service", [])))
