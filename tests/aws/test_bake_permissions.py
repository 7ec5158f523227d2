"""A permission that only a bake needs is told with the policy that has it."""

import pytest

from launcher.aws import baked, policy
from launcher.aws.faulttable import BAKE_ACTIONS, BAKE_POLICY
from launcher.errors import NotPermitted


def granted(document):
    found = set()
    for statement in document["Statement"]:
        actions = statement["Action"]
        found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def test_they_are_what_the_bakes_policy_adds():
    assert granted(policy.bake()) - granted(policy.document()) == BAKE_ACTIONS


def test_the_hint_names_that_policy(aws, cloud):
    cloud.refuse("CreateImage", "UnauthorizedOperation", "is not authorized to perform: ec2:CreateImage on", 403)
    with pytest.raises(NotPermitted) as raised:
        baked.create(aws, "i-0123456789abcdef0", "name", {})
    assert raised.value.hint == f"the identity lacks ec2:CreateImage: {BAKE_POLICY}"
