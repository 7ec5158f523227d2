import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError
from hypothesis import given
from hypothesis import strategies as st

from launcher.aws.faults import TABLE, Scope, aws_errors, missing_action, scope, translate
from launcher.errors import (
    BrokenRequest,
    CredentialsError,
    GpurunError,
    NoCapacity,
    NotPermitted,
    PriceTooHigh,
    ProvisionError,
    QuotaExceeded,
)


def client_error(code: str, message: str = "because") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateFleet")


@pytest.mark.parametrize(
    ("code", "kind", "where"),
    [
        ("InsufficientInstanceCapacity", NoCapacity, Scope.POOL),
        ("UnfulfillableCapacity", NoCapacity, Scope.POOL),
        ("Unsupported", NoCapacity, Scope.POOL),
        ("SpotMaxPriceTooLow", PriceTooHigh, Scope.POOL),
        ("MaxSpotInstanceCountExceeded", QuotaExceeded, Scope.QUOTA),
        ("VcpuLimitExceeded", QuotaExceeded, Scope.QUOTA),
        ("UnauthorizedOperation", NotPermitted, Scope.REGION),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", NotPermitted, Scope.MARKET),
        ("PendingVerification", NotPermitted, Scope.ACCOUNT),
        ("OptInRequired", NotPermitted, Scope.REGION),
        ("AuthFailure", CredentialsError, Scope.ACCOUNT),
        ("ExpiredToken", CredentialsError, Scope.ACCOUNT),
        ("InvalidAMIID.NotFound", BrokenRequest, Scope.REGION),
        ("InvalidParameterValue", BrokenRequest, Scope.ACCOUNT),
        ("Server.InsufficientInstanceCapacity", NoCapacity, Scope.POOL),
        ("Client.VolumeLimitExceeded", QuotaExceeded, Scope.REGION),
    ],
)
def test_the_table(code, kind, where):
    error = translate(client_error(code), doing="launch")
    assert type(error) is kind
    assert scope(code) is where
    assert code in error.message
    assert error.hint


def test_quota_advice_names_both_quotas_and_the_console():
    hint = translate(client_error("MaxSpotInstanceCountExceeded"), doing="launch").hint
    assert all(part in hint for part in ("L-3819A6DF", "L-DB2E81BA", "https://console.aws.amazon.com/servicequotas"))


def test_the_region_to_enable_is_named():
    error = translate(client_error("OptInRequired"), doing="look", region="af-south-1")
    assert error.hint == "aws account enable-region --region-name af-south-1"


def test_the_missing_permission_is_named():
    message = "User: arn:aws:iam::1:user/x is not authorized to perform: ec2:CreateFleet on resource: arn:aws:ec2:x"
    error = translate(client_error("UnauthorizedOperation", message), doing="launch")
    assert "ec2:CreateFleet" in error.hint


def test_the_missing_permission_is_decoded():
    message = "You are not authorized. Encoded authorization failure message: AbC-123_x"
    asked = []

    def decode(text):
        asked.append(text)
        return '{"allowed":false,"context":{"action":"ec2:RunInstances"}}'

    error = translate(client_error("UnauthorizedOperation", message), doing="launch", decode=decode)
    assert asked == ["AbC-123_x"]
    assert "ec2:RunInstances" in error.hint
    assert "AbC-123_x" not in error.message


def test_a_message_that_may_not_be_decoded_is_no_second_fault():
    def decode(_):
        raise client_error("AccessDenied")

    assert missing_action("Encoded authorization failure message: Zz", decode) == ""


def test_a_missing_service_linked_role_is_not_taken_for_lack_of_capacity():
    message = (
        "The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances."
    )
    error = translate(client_error("AuthFailure.ServiceLinkedRoleCreationNotPermitted", message), doing="launch")
    assert type(error) is NotPermitted
    assert error.hint == "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"


def test_without_a_code():
    assert type(translate(NoCredentialsError(), doing="look")) is CredentialsError
    for unreachable in (
        EndpointConnectionError(endpoint_url="https://ec2.us-west-9.amazonaws.com"),
        ConnectTimeoutError(endpoint_url="https://x"),
    ):
        error = translate(unreachable, doing="look")
        assert type(error) is ProvisionError
        assert "network" in error.hint


def test_the_context_manager_raises_ours_and_keeps_the_cause():
    with pytest.raises(NoCapacity) as caught, aws_errors("launch"):
        raise client_error("InsufficientInstanceCapacity")
    assert isinstance(caught.value.__cause__, ClientError)


def test_the_context_manager_leaves_other_errors_alone():
    with pytest.raises(ZeroDivisionError), aws_errors("launch"):
        _ = 1 / 0


@given(st.sampled_from(sorted(TABLE)) | st.text(), st.text())
def test_every_code_gives_an_error_of_ours_with_advice(code, message):
    error = translate(client_error(code, message), doing="launch", region="us-east-1")
    assert isinstance(error, GpurunError)
    assert error.hint
    assert "{" not in error.hint
    assert error.message.startswith("cannot launch in us-east-1")
