"""The sandbox's account as `gpurun doctor --print-iam` would set one up, and what its roles permit.

Calls of users are all allowed; a role that the cloud acts under is held to its policies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from launcher.sandbox.cloud.environment import ACCOUNT

ROLE = "gpurun-scheduler"
SCHEDULER = "scheduler.amazonaws.com"
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

    def assumable(self, role_arn: str) -> bool:
        """Whether EventBridge Scheduler may take that role."""
        role = self._role(role_arn)
        if role is None:
            return False
        context = {"aws:SourceAccount": ACCOUNT}
        return _decide(
            [
                statement
                for statement in _statements(role.assume_role_policy_document)
                if SCHEDULER in _many(dict(statement.get("Principal", {})).get("Service", []))
            ],
            "sts:AssumeRole",
            role_arn,
            context,
        )

    def permits(self, role_arn: str, action: str, resource: str, tags: Mapping[str, str]) -> bool:
        """Whether the role's policies allow an action on a resource with these tags."""
        role = self._role(role_arn)
        if role is None:
            return False
        texts = [*role.policies.values(), *(policy.document for policy in role.managed_policies.values())]
        context = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
        return _decide([each for text in texts for each in _statements(text)], action, resource, context)

    def _role(self, role_arn: str) -> Any:
        return next((role for role in self.open().roles.values() if role.arn == role_arn), None)


def _decide(statements: list[Mapping[str, Any]], action: str, resource: str, context: Mapping[str, str]) -> bool:
    """An explicit deny wins, and what is not allowed is denied (IAM User Guide, "Policy evaluation logic")."""
    effects = {str(each["Effect"]) for each in statements if _speaks_of(each, action, resource, context)}
    return effects == {"Allow"}


def _speaks_of(statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _many(statement.get("Action", [])))
        and any(fnmatchcase(resource, pattern) for pattern in _many(statement.get("Resource", "*")))
        and all(
            _holds(operator, key, _many(values), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _holds(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    value = context.get(key)
    if operator == "Null":
        return (value is None) == (values == ["true"])
    if value is None:
        return False
    if operator in {"StringLike", "ArnLike"}:
        return any(fnmatchcase(value, pattern) for pattern in values)
    return operator in {"StringEquals", "ArnEquals"} and value in values


def _statements(document: str) -> list[Mapping[str, Any]]:
    found = json.loads(document).get("Statement", [])
    return list(found) if isinstance(found, list) else [found]


def _many(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
