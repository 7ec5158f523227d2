"""IAM's answers where moto lacks them, or is kinder than IAM.

Source: AWS IAM API Reference; IAM User Guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import LimitExceededException, MalformedPolicyDocument, NoSuchEntity
from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator
from moto.iam.responses import IamResponse

from launcher.sandbox.cloud.policies import statements

_PAGE = 100
_INLINE_CHARACTERS = 10_240
_TRUST_CHARACTERS = 2_048


class SandboxIam(IamResponse):  # type: ignore[misc] # moto comes without types
    """moto's IAM with the sandbox's own operations over it; one object a request."""

    params: dict[str, Any]

    def create_role(self) -> ActionResult:
        """Its trust policy is checked."""
        _check_trust(self.params["AssumeRolePolicyDocument"])
        return super().create_role()

    def update_assume_role_policy(self) -> ActionResult:
        """The new one is checked too."""
        _check_trust(self.params["PolicyDocument"])
        return super().update_assume_role_policy()

    def put_role_policy(self) -> ActionResult:
        """All inline policies of a role share one limit; white space does not count."""
        name, role = self.params["PolicyName"], self.backend.get_role(self.params["RoleName"])
        others = (text for key, text in role.policies.items() if key != name)
        if sum(map(_size, (*others, self.params["PolicyDocument"]))) > _INLINE_CHARACTERS:
            words = f"Maximum policy size of {_INLINE_CHARACTERS} bytes exceeded for role {role.name}"
            raise LimitExceededException(words)
        return super().put_role_policy()

    def remove_role_from_instance_profile(self) -> ActionResult:
        """One that is not in it cannot be removed."""
        profile = self.backend.get_instance_profile(self.params["InstanceProfileName"])
        name = self.params["RoleName"]
        if name not in {role.name for role in profile.roles}:
            raise NoSuchEntity(f"The role with name {name} cannot be found in instance profile {profile.name}.")
        return super().remove_role_from_instance_profile()

    def list_role_policies(self) -> ActionResult:
        """A page at a time."""
        return self._page("PolicyNames", self.backend.list_role_policies(self.params["RoleName"]))

    def list_instance_profiles(self) -> ActionResult:
        """A page at a time, by name."""
        prefix = self.params.get("PathPrefix", "/")
        found = [each for each in self.backend.get_instance_profiles() if each.path.startswith(prefix)]
        return self._page("InstanceProfiles", sorted(found, key=lambda each: str(each.name)))

    def list_instance_profiles_for_role(self) -> ActionResult:
        """A page at a time; of a role that there is."""
        role = self.backend.get_role(self.params["RoleName"])
        found = [each for each in self.backend.get_instance_profiles() if role in each.roles]
        return self._page("InstanceProfiles", found)

    def _page(self, key: str, rows: Sequence[Any]) -> ActionResult:
        size = int(self.params.get("MaxItems") or _PAGE)
        start = int(self.params.get("Marker") or 0)
        more = start + size < len(rows)
        marker = {"Marker": str(start + size)} if more else {}
        return ActionResult({key: rows[start : start + size], "IsTruncated": more, **marker})


def _check_trust(document: str) -> None:
    IAMTrustPolicyDocumentValidator(document).validate()
    if not all(each.get("Principal") for each in statements(document)):
        raise MalformedPolicyDocument("Missing required field Principal")
    if _size(document) > _TRUST_CHARACTERS:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {_TRUST_CHARACTERS}")


def _size(document: str) -> int:
    return len(re.sub(r"\s", "", document))
