"""Whether the network's default group, in which a machine sits for its first seconds, lets everybody in."""

import shlex

import pytest

from launcher import checkup
from launcher.aws import defaultgroup


def rule(protocol="tcp", ports=(22, 22), **ranges):
    """A way in; `ranges` are its IpRanges or Ipv6Ranges."""
    ports = {} if protocol == "-1" else {"FromPort": ports[0], "ToPort": ports[1]}
    return {"IpProtocol": protocol, **ports, **ranges}


ANYBODY = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
ANYBODY_V6 = {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}


@pytest.fixture
def let_in(aws):
    """Add a rule to the default network's default group; gives the group's id."""

    def add(*permissions):
        (vpc,) = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        filters = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
        (group,) = aws.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        for permission in permissions:
            aws.ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[permission])
        return group["GroupId"]

    return add


@pytest.mark.parametrize(
    "open_rule",
    [rule(**ANYBODY), rule(**ANYBODY_V6), rule(ports=(0, 1024), **ANYBODY), rule("-1", **ANYBODY)],
    ids=["v4", "v6", "range of ports", "all protocols"],
)
def test_a_group_that_lets_anybody_in_is_warned_of_and_the_fix_closes_it(aws, let_in, open_rule):
    group_id = let_in(open_rule, rule(IpRanges=[{"CidrIp": "203.0.113.7/32"}]))
    (finding,) = checkup.default_group(aws)
    assert (finding.name, finding.verdict) == ("default group", "warn")
    assert group_id in finding.text
    words = shlex.split(finding.fix)
    assert words[:7] == ["aws", "ec2", "revoke-security-group-ingress", "--region", "us-east-1", "--group-id", group_id]
    assert words[7] == "--security-group-rule-ids"
    aws.ec2.revoke_security_group_ingress(GroupId=group_id, SecurityGroupRuleIds=words[8:])
    (finding,) = checkup.default_group(aws)
    assert finding.verdict == "ok"
    left = aws.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissions"]
    assert "203.0.113.7/32" in [each["CidrIp"] for permission in left for each in permission["IpRanges"]]


@pytest.mark.parametrize(
    "narrow",
    [
        rule(IpRanges=[{"CidrIp": "203.0.113.0/24"}]),
        rule(ports=(80, 443), **ANYBODY),
        rule("udp", **ANYBODY),
        rule("icmp", ports=(-1, -1), **ANYBODY),
    ],
    ids=["one network", "other ports", "udp", "ping"],
)
def test_what_is_no_way_in_for_anybody(aws, let_in, narrow):
    assert defaultgroup.find(aws) == defaultgroup.DefaultGroup(group_id=let_in(narrow), open_rule_ids=())


def test_the_default_group_of_another_network_does_not_matter(aws, let_in):
    ours = let_in()
    other = aws.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    filters = [{"Name": "vpc-id", "Values": [other]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = aws.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    aws.ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule(**ANYBODY)])
    assert defaultgroup.find(aws) == defaultgroup.DefaultGroup(group_id=ours, open_rule_ids=())


def test_without_a_default_network_there_is_nothing_to_say(aws, cloud):
    empty = "<DescribeSubnetsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><subnetSet/></DescribeSubnetsResponse>"
    cloud.answer("DescribeSubnets", lambda _: (200, empty))
    assert checkup.default_group(aws) == []
