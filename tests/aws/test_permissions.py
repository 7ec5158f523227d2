import json
import re
from fnmatch import fnmatch
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from launcher.aws import orphans, permissions, policy, quota
from launcher.errors import CredentialsError, NotPermitted

ROOT = Path(__file__).parents[2]


def test_all_is_granted_and_nothing_is_made(aws):
    probes = permissions.probe(aws)
    assert all(probe.allowed and not probe.advice for probe in probes)
    assert orphans.find(aws) == []
    assert aws.ec2.describe_launch_templates()["LaunchTemplates"] == []


@pytest.mark.parametrize("action", ["RunInstances", "CreateFleet", "CreateSecurityGroup", "DescribeSpotPriceHistory"])
def test_what_is_denied_is_named(aws, cloud, action):
    cloud.refuse(action, "UnauthorizedOperation", f"not authorized to perform: ec2:{action}", 403)
    denied = [probe for probe in permissions.probe(aws) if not probe.allowed]
    assert [probe.action for probe in denied] == [f"ec2:{action}"]
    assert "docs/iam-policy.json" in denied[0].advice


@pytest.mark.parametrize("action", ["TerminateInstances", "ModifyInstanceAttribute"])
def test_where_the_tag_decides_only_an_explicit_deny_counts(aws, cloud, action):
    def is_denied():
        return not next(p for p in permissions.probe(aws) if p.action == f"ec2:{action}").allowed

    cloud.refuse(action, "UnauthorizedOperation", "no identity-based policy allows it", 403)
    assert not is_denied()
    cloud.refuse(action, "UnauthorizedOperation", "with an explicit deny in a service control policy", 403)
    assert is_denied()


def test_bad_credentials_are_not_taken_for_a_missing_permission(aws, cloud):
    cloud.refuse("RunInstances", "AuthFailure", "not able to validate the provided access credentials", 401)
    with pytest.raises(CredentialsError):
        permissions.probe(aws)


def test_every_dry_run_says_so(aws, cloud):
    permissions.probe(aws)
    asked = [each for name, each in zip(cloud.calls, cloud.parameters, strict=True) if name != "GetParameter"]
    assert asked
    assert all(each["DryRun"] == "true" for each in asked)


def test_the_policy_file_is_the_policy():
    assert (ROOT / "docs" / "iam-policy.json").read_text() == policy.text()


def granted(document=None):
    found = set()
    for statement in (document or policy.document())["Statement"]:
        actions = statement["Action"]
        found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def test_the_policy_grants_all_that_is_probed(aws):
    assert {probe.action for probe in permissions.probe(aws)} <= granted()


def test_the_policy_grants_all_that_the_launcher_calls():
    """Each EC2 method that the room calls, from its source."""
    model = botocore.session.Session().get_service_model("ec2")
    operations = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): name for name in model.operation_names}
    images = ROOT / "launcher/aws/baked.py"

    def asked(*paths):
        source = "".join(path.read_text() for path in paths)
        called = set(re.findall(r"ec2\.([a-z_]+)\(|ec2\.get_paginator\(\"([a-z_]+)\"\)", source))
        return {f"ec2:{operations[name]}" for pair in called for name in pair if name in operations}

    of_launches = asked(*(path for path in (ROOT / "launcher" / "aws").rglob("*.py") if path != images))
    assert "ec2:CreateFleet" in of_launches
    assert of_launches <= granted()
    assert "ec2:CreateImage" in asked(images)
    assert asked(images) <= granted() | granted(policy.bake())


NEVER_CALLED = {
    "ec2:RunInstances": "CreateFleet asks for it",
    "scheduler:TagResource": "CreateScheduleGroup with tags asks for it",
    "iam:PassRole": "CreateSchedule asks for it",
    "iam:TagRole": "CreateRole with tags asks for it",
    "iam:TagInstanceProfile": "CreateInstanceProfile with tags asks for it",
    "iam:CreateServiceLinkedRole": "the first spot fleet of an account asks for it",
}
"""What AWS wants permitted for other calls (Service Authorization Reference, "Dependent actions")."""
OTHER_NAMES = {"s3:ListBucket": "list_objects_v2", "s3:PutObject": "generate_presigned_post"}


def test_the_policies_grant_nothing_that_the_code_does_not_call():
    """Each action as a method's name in the launcher's source; that `doctor` tries it dry does not count."""
    room = ROOT / "launcher"
    sources = {path: path.read_text() for path in room.rglob("*.py") if room / "sandbox" not in path.parents}
    tried = room / "aws" / "permissions.py"
    sources[tried], marker, _ = sources[tried].partition("def _looks(")
    assert marker
    source = "".join(sources.values())
    called = set(re.findall(r"\.([a-z_0-9]+)\(", source)) | set(re.findall(r'get_paginator\("([a-z_0-9]+)"\)', source))
    idle = {
        action
        for action in granted() | granted(policy.outputs("bucket")) | granted(policy.bake()) | granted(policy.deploy())
        if OTHER_NAMES.get(action, xform_name(action.partition(":")[2])) not in called
    }
    assert idle == NEVER_CALLED.keys()


def test_the_policy_of_deployments_grants_all_that_they_call_of_iam_and_scheduler():
    session = botocore.session.Session()
    source = "".join((ROOT / f"launcher/aws/{name}.py").read_text() for name in ("roles", "recurring", "killswitch"))
    for service in ("iam", "scheduler"):
        names = session.get_service_model(service).operation_names
        called = {name for name in names if f"{service}.{xform_name(name)}(" in source}
        called |= {name for name in names if f'get_paginator("{xform_name(name)}")' in source}
        assert called
        assert {f"{service}:{name}" for name in called} <= granted() | granted(policy.deploy())


def test_deployments_touch_what_is_called_after_them_alone():
    for statement in policy.deploy()["Statement"]:
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            tagged = "gpurun:schedule" in json.dumps(statement.get("Condition", {}))
            at_birth = statement["Action"] == "ec2:CreateTags"
            assert "gpurun-schedule-*" in resource or (":launch-template/" in resource and (tagged or at_birth))
            assert not fnmatch("arn:aws:iam::123456789012:role/gpurun-scheduler", resource)
    (passing,) = [each for each in policy.deploy()["Statement"] if each["Action"] == "iam:PassRole"]
    assert passing["Resource"] == "arn:aws:iam::*:role/gpurun-schedule-*"
    to = {"iam:PassedToService": ["ec2.amazonaws.com", "scheduler.amazonaws.com"]}
    assert passing["Condition"] == {"StringEquals": to}


def test_what_ends_things_is_granted_by_tag_alone():
    for statement in policy.document()["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        if any(action.startswith(("ec2:Terminate", "ec2:Delete", "ec2:Revoke")) for action in actions):
            assert statement["Condition"] == {"Null": {"aws:ResourceTag/gpurun:run": "false"}}


def test_the_policy_fits_a_managed_policy():
    assert len(json.dumps(policy.document(), separators=(",", ":"))) <= 6144


def test_quotas(aws, cloud):
    def answer(asked):
        assert asked["ServiceCode"] == "ec2"
        if asked["QuotaCode"] != "L-3819A6DF":
            return 400, json.dumps({"__type": "NoSuchResourceException", "message": "none"})
        return 200, json.dumps({"Quota": {"QuotaCode": "L-3819A6DF", "QuotaName": "All G and VT Spot", "Value": 0.0}})

    cloud.answer("GetServiceQuota", answer)
    assert quota.read(aws) == [quota.Quota(code="L-3819A6DF", name="All G and VT Spot", value=0.0)]


def test_quotas_that_may_not_be_read(aws, cloud):
    cloud.answer("GetServiceQuota", lambda _: (400, json.dumps({"__type": "AccessDeniedException", "message": "no"})))
    with pytest.raises(NotPermitted):
        quota.read(aws)
