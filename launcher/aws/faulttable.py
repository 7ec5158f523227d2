"""What AWS's error codes mean to us: the kind of refusal, how much of the search it stops, and what the user does next.

Source: "Error codes for the Amazon EC2 API" (AWS EC2 API Reference) and the reason codes of StateReason; "Amazon EC2
service quotas" (EC2 User Guide); "Service-linked role for Spot Instance requests" (likewise).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


class Kind(StrEnum):
    """Why AWS refuses."""

    CAPACITY = "capacity"
    QUOTA = "quota"
    PRICE = "price"
    PERMISSION = "permission"
    CREDENTIALS = "credentials"
    BROKEN = "broken request"
    THROTTLED = "throttled"
    """It says nothing of the request: the same one may succeed a moment later."""
    UNKNOWN = "unknown"


ERRORS: dict[Kind, type[GpurunError]] = {
    Kind.CAPACITY: NoCapacity,
    Kind.QUOTA: QuotaExceeded,
    Kind.PRICE: PriceTooHigh,
    Kind.PERMISSION: NotPermitted,
    Kind.CREDENTIALS: CredentialsError,
    Kind.BROKEN: BrokenRequest,
    Kind.THROTTLED: ProvisionError,
    Kind.UNKNOWN: ProvisionError,
}
"""What each kind is raised as."""


class Scope(StrEnum):
    """How much of the search a refusal stops."""

    POOL = "pool"
    """One instance type in one zone, in one market."""
    TYPE = "type"
    """One instance type in one region."""
    QUOTA = "quota"
    """The types of one quota in one region, in one market."""
    REGION = "region"
    MARKET = "market"
    """One market, in every region."""
    ACCOUNT = "account"
    """Everything."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What one error code means to us."""

    kind: Kind
    scope: Scope
    remedy: str
    """What to do next; `{quota}`, `{region}` and `{profile}` stand for what `step` is told."""

    @property
    def error(self) -> type[GpurunError]:
        """What it is raised as."""
        return ERRORS[self.kind]

    @property
    def advice(self) -> str:
        """What to do next, where nothing is known of the place."""
        return self.step()

    def step(self, *, region: str = "", profile: str = "", quota: str = "") -> str:
        """What to do next; `quota` says which one has to be raised, and where."""
        text = self.remedy.replace("{quota}", quota or GPU_QUOTAS)
        text = text.replace("{profile}", f" --profile {profile}" if profile else "")
        return text.replace("{region}", region or "REGION")


CONSOLE = "https://{region}.console.aws.amazon.com/servicequotas/home/services/ec2/quotas/{code}"
GPU_QUOTAS = (
    "quota L-3819A6DF (spot G and VT) or L-DB2E81BA (on-demand G and VT), "
    "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
)
_QUOTA = "ask for more vCPUs: {quota}"
_WAIT = "allow more instance types, zones or regions, or wait for capacity: gpurun launch --wait"
_POLICY = "attach docs/iam-policy.json to the identity, then: gpurun doctor"
BAKE_POLICY = "gpurun doctor --print-iam --bake writes the policy that machine images need, and how to attach it"
DEPLOY_POLICY = "gpurun doctor --print-iam --deploy writes the policy that deploying needs, and how to attach it"
DEPLOY_ACTIONS = frozenset(
    {
        *(f"iam:{verb}Role" for verb in ("Create", "Delete", "Tag")),
        *(f"iam:{verb}RolePolicy" for verb in ("Delete", "Put")),
        *(f"iam:{verb}InstanceProfile" for verb in ("AddRoleTo", "Create", "Delete", "Get", "RemoveRoleFrom", "Tag")),
        "iam:UpdateAssumeRolePolicy",
        "scheduler:DeleteScheduleGroup",
        "scheduler:GetScheduleGroup",
        "scheduler:ListTagsForResource",
    }
)
BAKE_ACTIONS = frozenset(
    {
        "ec2:CopyImage",
        "ec2:CreateImage",
        "ec2:DescribeImageAttribute",
        "ec2:ModifyImageAttribute",
        "kms:DescribeKey",
    }
)
"""What that policy allows and a launch's does not."""
_LOGIN = "aws configure"
_SSO = "aws sso login{profile}"
_IMAGE = "AMI ids belong to one region and one account: check `resources.image` and the region"
_DEFAULT_VPC = "aws ec2 create-default-vpc --region {region}"
_SPOT_ROLE = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
_ENABLE = "aws account enable-region --region-name {region}"
_CLOCK = "set the clock: requests are signed with the time (`timedatectl set-ntp true`)"
_AGAIN = "gpurun down the run, then launch it anew"
BUG = "see `gpurun doctor`; if it finds nothing, report this message"
_LATER = "AWS is busy or ill: wait a minute, then repeat the command"


def _rows(kind: Kind, scope: Scope, remedy: str, *codes: str) -> dict[str, Fault]:
    return dict.fromkeys(codes, Fault(kind, scope, remedy))


TABLE: dict[str, Fault] = {
    **_rows(
        Kind.CAPACITY,
        Scope.POOL,
        _WAIT,
        *("InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity"),
        *("InsufficientReservedInstanceCapacity", "UnfulfillableCapacity", "CapacityNotAvailable"),
        *("SpotInstanceTermination", "SpotInstanceShutdown", "InsufficientCapacityOnHost"),
    ),
    **_rows(Kind.CAPACITY, Scope.POOL, "free addresses in the zone's subnet", "InsufficientFreeAddressesInSubnet"),
    **_rows(Kind.CAPACITY, Scope.POOL, "the zone does not offer that type: allow more zones or types", "Unsupported"),
    **_rows(
        Kind.PRICE,
        Scope.POOL,
        "raise limits.max_price; `gpurun offers` shows prices",
        *("SpotMaxPriceTooLow", "SpotPriceTooLow"),
    ),
    **_rows(
        Kind.QUOTA,
        Scope.QUOTA,
        _QUOTA,
        *("MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded"),
    ),
    **_rows(
        Kind.QUOTA,
        Scope.REGION,
        "wait for other fleets to end, or ask for more: "
        "https://{region}.console.aws.amazon.com/servicequotas/home/services/ec2fleet/quotas",
        *("MaxSpotFleetRequestCountExceeded", "FleetLimitExceeded"),
    ),
    **_rows(Kind.QUOTA, Scope.REGION, "delete volumes that nothing uses: gpurun gc", "VolumeLimitExceeded"),
    **_rows(Kind.QUOTA, Scope.REGION, "release addresses that nothing uses", "AddressLimitExceeded"),
    **_rows(Kind.QUOTA, Scope.REGION, "delete groups that nothing uses: gpurun gc", "SecurityGroupLimitExceeded"),
    **_rows(Kind.QUOTA, Scope.REGION, "gpurun gc", "RulesPerSecurityGroupLimitExceeded"),
    **_rows(Kind.QUOTA, Scope.REGION, "delete templates that nothing uses: gpurun gc", "LaunchTemplateLimitExceeded"),
    # A policy may speak of regions (aws:RequestedRegion): one refusal says nothing of the other regions.
    **_rows(Kind.PERMISSION, Scope.REGION, _POLICY, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException"),
    **_rows(
        Kind.PERMISSION,
        Scope.MARKET,
        _SPOT_ROLE,
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        "UnauthorizedOperation.ServiceLinkedRole",
        "InvalidFleetConfiguration.ServiceLinkedRole",
    ),
    **_rows(Kind.PERMISSION, Scope.REGION, _ENABLE, "OptInRequired"),
    **_rows(
        Kind.PERMISSION,
        Scope.ACCOUNT,
        "AWS still verifies the account: wait for its e-mail",
        "PendingVerification",
    ),
    **_rows(Kind.PERMISSION, Scope.ACCOUNT, "the account is blocked: https://aws.amazon.com/support", "Blocked"),
    **_rows(
        Kind.CREDENTIALS,
        Scope.ACCOUNT,
        _LOGIN,
        *("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"),
        *("InvalidAccessKeyId", "MissingAuthenticationToken"),
    ),
    **_rows(Kind.CREDENTIALS, Scope.ACCOUNT, _SSO, "ExpiredToken", "ExpiredTokenException"),
    # EC2's word for a session token past its time, and for a clock that is far off.
    **_rows(Kind.CREDENTIALS, Scope.ACCOUNT, _SSO + ", or new keys; if they are new, " + _CLOCK, "RequestExpired"),
    **_rows(Kind.BROKEN, Scope.REGION, _IMAGE, "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"),
    **_rows(Kind.BROKEN, Scope.ACCOUNT, _IMAGE, "InvalidAMIID.Malformed"),
    **_rows(Kind.BROKEN, Scope.TYPE, "gpurun offers", "InvalidInstanceType"),
    **_rows(Kind.BROKEN, Scope.TYPE, "choose another instance type or image", "UnsupportedOperation"),
    **_rows(Kind.BROKEN, Scope.TYPE, "give resources.disk at least the image's size", "InvalidBlockDeviceMapping"),
    **_rows(Kind.BROKEN, Scope.REGION, _DEFAULT_VPC, "VPCIdNotSpecified", "MissingInput"),
    **_rows(Kind.BROKEN, Scope.REGION, _AGAIN, "IdempotentParameterMismatch"),
    **_rows(
        Kind.BROKEN,
        Scope.REGION,
        _AGAIN,
        *("InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"),
        *("InvalidSubnetID.NotFound", "InvalidGroup.NotFound", "InvalidSubnet"),
    ),
    **_rows(
        Kind.THROTTLED,
        Scope.REGION,
        _LATER,
        *("RequestLimitExceeded", "Throttling", "ThrottlingException", "InternalError", "InternalFailure"),
        *("ServiceUnavailable", "Unavailable", "RequestTimeout", "500", "502", "503", "504"),
    ),
}

PASSING = frozenset(code for code, fault in TABLE.items() if fault.kind is Kind.THROTTLED)
"""Codes that say nothing of the request: the same one, with the same token, may succeed a moment later."""

NOT_YET = frozenset({"InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"})
"""What EC2 says of a template that was made a moment ago and that one of its hosts has not heard of."""

_UNKNOWN = Fault(Kind.UNKNOWN, Scope.POOL, BUG)


def fault_of(code: str, message: str = "") -> Fault:
    """The table's row for a code; codes that the table lacks fall to their nearest kin."""
    bare = code.removeprefix("Server.").removeprefix("Client.")
    if "service-linked role" in message.lower() and ("permi" in message.lower() or "creat" in message.lower()):
        return TABLE["AuthFailure.ServiceLinkedRoleCreationNotPermitted"]
    if bare in TABLE:
        return TABLE[bare]
    if bare.startswith(("UnauthorizedOperation", "AccessDenied")):
        return TABLE["UnauthorizedOperation"]
    if bare.startswith("Invalid") or bare.endswith(("Malformed", "NotFound")):
        return Fault(Kind.BROKEN, Scope.ACCOUNT, BUG)
    return _UNKNOWN


def scope(code: str) -> Scope:
    """How much of the search an error code stops."""
    return fault_of(code).scope
