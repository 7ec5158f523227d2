"""Instance profiles: the role that a machine acts under.

Source: EC2 User Guide, "IAM roles for Amazon EC2"; its refusals are EC2's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.iam.models import iam_backends

from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.errors import Refusal, refusal


def asked(request: Mapping[str, Any]) -> dict[str, str]:
    """The profile that a launch names, by `Name` or `Arn`; empty where it names none."""
    return {key: str(value) for key, value in (request.get("IamInstanceProfile") or {}).items() if value}


def find(request: Mapping[str, Any]) -> Any:
    """moto's record of the profile that a launch names; `None` where there is none such."""
    wanted = asked(request)
    return next(
        (
            each
            for each in iam_backends[ACCOUNT]["aws"].get_instance_profiles()
            if wanted and wanted in ({"Name": each.name}, {"Arn": each.arn})
        ),
        None,
    )


def role_arn(request: Mapping[str, Any]) -> str:
    """The role that the launch passes on; empty where it passes none."""
    found = find(request)
    return str(found.roles[0].arn) if found is not None and found.roles else ""


def objection(request: Mapping[str, Any]) -> Refusal | None:
    """Why EC2 would not launch with the profile that the request names."""
    wanted = asked(request)
    if not wanted:
        return None
    if len(wanted) > 1:
        words = "The parameter iamInstanceProfile.name may not be used in combination with iamInstanceProfile.arn"
        return refusal("InvalidParameterCombination", message=words)
    ((kind, value),) = wanted.items()
    found = find(request)
    if found is None:
        label = "name" if kind == "Name" else "ARN"
        words = (
            f"Value ({value}) for parameter iamInstanceProfile.{kind.lower()} is invalid. "
            f"Invalid IAM Instance Profile {label}"
        )
        return refusal("InvalidParameterValue", message=words)
    if not found.roles:
        words = f'IAM Instance Profile "{found.arn}" has no associated IAM Roles'
        return refusal("InvalidParameterValue", message=words)
    return None
