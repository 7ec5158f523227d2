import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from launcher.aws import network
from launcher.aws.client import Aws
from launcher.errors import BrokenRequest, HostUnreachable, NotPermitted, ProvisionError, SpecError

TAGS = {"gpurun:run": "r1", "gpurun:owner": "me", "Name": "gpurun r1"}


def open_for(aws, run_id="r1", cidr="203.0.113.7/32"):
    return network.open_ingress(aws, run_id=run_id, cidr=cidr, tags={**TAGS, "gpurun:run": run_id})


def doors(aws, run_id="r1"):
    """What the run's groups let in: (protocol, from, to, address)."""
    groups = aws.ec2.describe_security_groups(Filters=[{"Name": "tag:gpurun:run", "Values": [run_id]}])
    return [
        (each["IpProtocol"], each["FromPort"], each["ToPort"], address.get("CidrIp") or address.get("CidrIpv6"))
        for group in groups["SecurityGroups"]
        for each in group["IpPermissions"]
        for address in each["IpRanges"] + each["Ipv6Ranges"]
    ]


def test_ssh_from_one_address_alone(aws):
    ingress = open_for(aws)
    assert doors(aws) == [("tcp", 22, 22, "203.0.113.7/32")]
    (group,) = aws.ec2.describe_security_groups(GroupIds=[ingress.group_id])["SecurityGroups"]
    assert {tag["Key"]: tag["Value"] for tag in group["Tags"]} == TAGS
    (rule,) = aws.ec2.describe_security_group_rules(SecurityGroupRuleIds=[ingress.rule_id])["SecurityGroupRules"]
    assert {tag["Key"]: tag["Value"] for tag in rule["Tags"]} == TAGS


def test_the_group_lies_in_the_default_network(aws):
    ingress = open_for(aws)
    (group,) = aws.ec2.describe_security_groups(GroupIds=[ingress.group_id])["SecurityGroups"]
    (vpc,) = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert group["VpcId"] == vpc["VpcId"]


def test_ipv6(aws):
    open_for(aws, cidr="2001:db8::7/128")
    assert doors(aws) == [("tcp", 22, 22, "2001:db8::7/128")]


def test_twice_is_once(aws):
    assert open_for(aws) == open_for(aws)
    assert len(doors(aws)) == 1


def test_many_at_once_are_one(aws):
    with ThreadPoolExecutor(8) as pool:
        opened = set(pool.map(lambda _: open_for(aws), range(8)))
    assert len(opened) == 1
    assert len(doors(aws)) == 1


def test_the_door_moves_with_the_caller(aws):
    before = open_for(aws)
    after = open_for(aws, cidr="198.51.100.9/32")
    assert after.group_id == before.group_id
    assert doors(aws) == [("tcp", 22, 22, "198.51.100.9/32")]


def test_moving_the_door_leaves_what_the_user_added(aws):
    group_id = open_for(aws).group_id
    added = [(22, "192.0.2.1/32", "work"), (8888, "192.0.2.2/32", "gpurun")]
    for port, cidr, description in added:
        ranges = [{"CidrIp": cidr, "Description": description}]
        theirs = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        aws.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[theirs])
    open_for(aws, cidr="198.51.100.9/32")
    assert {door[3] for door in doors(aws)} == {"192.0.2.1/32", "192.0.2.2/32", "198.51.100.9/32"}


def follow(aws, address, run_id="r1"):
    return network.follow_address(aws, run_id=run_id, tags={**TAGS, "gpurun:run": run_id}, address=address)


@pytest.mark.parametrize(
    ("before", "address", "after"),
    [
        ("203.0.113.7/32", "198.51.100.9", "198.51.100.9/32"),
        ("2001:db8::7/128", "2001:db8::8", "2001:db8::8/128"),
        ("203.0.113.7/32", "2001:db8::8", "2001:db8::8/128"),
        ("2001:db8::7/128", "198.51.100.9", "198.51.100.9/32"),
        ("2001:db8:0::8/128", "2001:0db8::9", "2001:db8::9/128"),
    ],
)
def test_the_door_follows_a_new_address_in_three_calls(aws, cloud, before, address, after):
    open_for(aws, cidr=before)
    cloud.calls.clear()
    cloud.parameters.clear()
    assert follow(aws, address) == after
    assert cloud.calls == [
        "DescribeSecurityGroups",
        "AuthorizeSecurityGroupIngress",
        "RevokeSecurityGroupIngress",
    ]
    assert doors(aws) == [("tcp", 22, 22, after)]
    assert follow(aws, address) is None
    (rule,) = [
        each
        for each in aws.ec2.describe_security_group_rules(
            Filters=[{"Name": "tag:gpurun:run", "Values": ["r1"]}],
        )["SecurityGroupRules"]
        if not each["IsEgress"]
    ]
    assert {tag["Key"]: tag["Value"] for tag in rule["Tags"]} == TAGS


@pytest.mark.parametrize(
    ("cidr", "address"), [("203.0.113.7/32", "203.0.113.7"), ("2001:db8::7/128", "2001:0db8:0:0::7")]
)
def test_an_address_that_is_the_same_costs_one_call(aws, cloud, cidr, address):
    open_for(aws, cidr=cidr)
    cloud.calls.clear()
    cloud.parameters.clear()
    assert follow(aws, address) is None
    assert cloud.calls == ["DescribeSecurityGroups"]


def test_following_goes_on_where_it_was_broken_off(aws, cloud):
    open_for(aws)
    cloud.refuse("RevokeSecurityGroupIngress", "UnauthorizedOperation", status=403)
    with pytest.raises(NotPermitted):
        follow(aws, "198.51.100.9")
    assert len(doors(aws)) == 2
    cloud.faults.clear()
    assert follow(aws, "198.51.100.9") == "198.51.100.9/32"
    assert doors(aws) == [("tcp", 22, 22, "198.51.100.9/32")]


def test_many_that_follow_at_once_make_one_door(aws):
    open_for(aws)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: follow(aws, "198.51.100.9"), range(8)))
    assert doors(aws) == [("tcp", 22, 22, "198.51.100.9/32")]


def test_following_opens_a_door_that_was_lost_and_leaves_what_the_user_added(aws):
    group_id = open_for(aws).group_id
    theirs = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    aws.ec2.revoke_security_group_ingress(
        GroupId=group_id,
        IpPermissions=[{**theirs, "IpRanges": [{"CidrIp": "203.0.113.7/32", "Description": "gpurun"}]}],
    )
    aws.ec2.authorize_security_group_ingress(
        GroupId=group_id, IpPermissions=[{**theirs, "IpRanges": [{"CidrIp": "192.0.2.1/32", "Description": "work"}]}]
    )
    assert follow(aws, "198.51.100.9") == "198.51.100.9/32"
    assert {door[3] for door in doors(aws)} == {"192.0.2.1/32", "198.51.100.9/32"}


def test_another_run_s_door_does_not_move(aws):
    open_for(aws, "r1"), open_for(aws, "r2")
    follow(aws, "198.51.100.9")
    assert doors(aws, "r2") == [("tcp", 22, 22, "203.0.113.7/32")]


def test_a_run_without_a_group_has_no_door_to_move(aws):
    with pytest.raises(ProvisionError) as caught:
        follow(aws, "198.51.100.9")
    assert caught.value.hint == "gpurun status r1"


def test_two_runs_from_one_address_do_not_close_each_others_door(aws):
    first, second = open_for(aws, "r1"), open_for(aws, "r2")
    assert first.group_id != second.group_id
    network.close_ingress(aws, run_id="r1")
    assert doors(aws, "r1") == []
    assert doors(aws, "r2") == [("tcp", 22, 22, "203.0.113.7/32")]


def test_closing_leaves_nothing_and_may_be_repeated(aws):
    open_for(aws)
    network.close_ingress(aws, run_id="r1")
    network.close_ingress(aws, run_id="r1")
    assert not aws.ec2.describe_security_groups(Filters=[{"Name": "tag-key", "Values": ["gpurun:run"]}])[
        "SecurityGroups"
    ]


def test_a_group_that_is_held_is_closed_at_once_and_deleted_later(aws, cloud):
    open_for(aws)
    closed_first = []

    def held(_):
        closed_first.append(doors(aws) == [])
        return 400, cloud.error_xml("DependencyViolation", "in use")

    cloud.answer("DeleteSecurityGroup", held, held, lambda _: None)
    network.close_ingress(aws, run_id="r1")
    assert closed_first == [True, True]
    assert not aws.ec2.describe_security_groups(Filters=[{"Name": "tag-key", "Values": ["gpurun:run"]}])[
        "SecurityGroups"
    ]


def test_a_group_that_stays_held_is_told(aws, cloud):
    open_for(aws)
    cloud.refuse("DeleteSecurityGroup", "DependencyViolation")
    with pytest.raises(ProvisionError) as caught:
        network.close_ingress(aws, run_id="r1", timeout_s=0.2)
    assert "closed" in caught.value.message
    assert caught.value.hint == "gpurun gc"


def test_no_default_network(aws, cloud):
    cloud.refuse("CreateSecurityGroup", "VPCIdNotSpecified", "No default VPC for this user")
    with pytest.raises(BrokenRequest) as caught:
        open_for(aws)
    assert caught.value.hint.startswith("aws ec2 create-default-vpc")


@pytest.mark.parametrize("cidr", ["", "home", "203.0.113.7/33", "203.0.113.7/8"])
def test_an_address_that_is_none(aws, cidr):
    with pytest.raises(SpecError) as caught:
        open_for(aws, cidr=cidr)
    assert "203.0.113.7/32" in caught.value.hint


def test_default_subnets(aws):
    every = network.default_subnets(aws, [])
    assert len(every) >= 3
    assert network.default_subnets(aws, ["us-east-1b", "us-east-1z"]) == {"us-east-1b": every["us-east-1b"]}


def test_zones_without_default_subnets(aws):
    with pytest.raises(BrokenRequest) as caught:
        network.default_subnets(aws, ["us-east-1z"])
    assert "us-east-1a" in caught.value.message
    assert "create-default-subnet --availability-zone us-east-1z" in caught.value.hint


def test_no_default_subnets(aws):
    for subnet in network.default_subnets(aws, []).values():
        aws.ec2.delete_subnet(SubnetId=subnet)
    with pytest.raises(BrokenRequest) as caught:
        network.default_subnets(aws, [])
    assert caught.value.hint == "aws ec2 create-default-vpc --region us-east-1"


def test_near_a_private_endpoint_our_own_address_counts(aws):
    assert network.caller_address(aws) == "127.0.0.1"


class Far:
    """A cloud whose endpoint is public."""

    endpoint_host = "8.8.8.8"
    checkip_url = None


@pytest.fixture
def what_is_my_address():
    """A service of our own that answers with `.body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_far_from_the_endpoint_the_public_address_counts(what_is_my_address):
    what_is_my_address.body = b"203.0.113.7\n"
    url = f"http://127.0.0.1:{what_is_my_address.server_port}"
    assert network.caller_address(Far(), service=url) == "203.0.113.7"


def test_the_service_that_the_profile_names_is_asked_before_all(aws, what_is_my_address, monkeypatch):
    what_is_my_address.body = b"2001:db8::7"
    url = f"http://127.0.0.1:{what_is_my_address.server_port}"
    profile = aws.account.config_file.read_text()
    config = aws.account.config_file.with_name("own_service")
    config.write_text(f"{profile}checkip_url = {url}\n")
    elsewhere = Aws(replace(aws.account, config_file=config))
    assert network.caller_address(elsewhere) == "2001:db8::7"


@pytest.mark.parametrize("body", [b"", b"<html>Sign in</html>", b"203.0.113.7/0", b"\xff" * 200])
def test_an_answer_that_is_no_address(what_is_my_address, body):
    what_is_my_address.body = body
    with pytest.raises(HostUnreachable) as caught:
        network.caller_address(Far(), service=f"http://127.0.0.1:{what_is_my_address.server_port}")
    assert caught.value.hint.endswith(f"curl http://127.0.0.1:{what_is_my_address.server_port}")


def test_no_answer():
    with pytest.raises(HostUnreachable) as caught:
        network.caller_address(Far(), service="http://127.0.0.1:1")
    assert caught.value.hint.endswith("curl http://127.0.0.1:1")
