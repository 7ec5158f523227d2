"""From what AWS answers to what a user can act on: one table of error codes.

Source: "Error codes for the Amazon EC2 API" (AWS EC2 API Reference) and the reason codes of StateReason.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from launcher.errors import (
    BrokenRequest,
    CredentialsError,
    GpurunError,
    NoCapacity,
    NotPermitted,
    PriceTooHigh,
    ProvisionError,
    QuotaExceeded,
    SpecError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Scope(StrEnum):
    """How much of the search a refusal rules out."""

    POOL = "pool"
    """One instance type in one zone, in one market."""
    TYPE = "type"
    REGION = "region"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Fault:
    """What one error code means to us."""

    error: type[GpurunError]
    scope: Scope
    advice: str


QUOTA_ADVICE = (
    "ask for more vCPUs: quota L-3819A6DF (spot G and VT) or L-DB2E81BA (on-demand G and VT), "
    "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
)
_WAIT = "try again in some minutes, or allow more instance types, zones or regions"
_POLICY = "attach docs/iam-policy.json to the identity, then: gpurun doctor"
_LOGIN = "aws configure"
_IMAGE = "AMI ids belong to one region and one account: check `resources.image` and the region"
_DEFAULT_VPC = "aws ec2 create-default-vpc"
_SPOT_ROLE = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
_CLOCK = "set the clock: requests are signed with the time (`timedatectl set-ntp true`)"
_BUG = "see `gpurun doctor`; if it finds nothing, report this message"
_NETWORK = "check the network, the endpoint and the region's name, then repeat"
_LATER = "AWS is busy or ill: wait a minute, then repeat the command"

TABLE: dict[str, Fault] = {
    "InsufficientInstanceCapacity": Fault(NoCapacity, Scope.POOL, _WAIT),
    "InsufficientHostCapacity": Fault(NoCapacity, Scope.POOL, _WAIT),
    "InsufficientCapacity": Fault(NoCapacity, Scope.POOL, _WAIT),
    "InsufficientReservedInstanceCapacity": Fault(NoCapacity, Scope.POOL, _WAIT),
    "InsufficientFreeAddressesInSubnet": Fault(NoCapacity, Scope.POOL, "free addresses in the zone's subnet"),
    "UnfulfillableCapacity": Fault(NoCapacity, Scope.POOL, _WAIT),
    "CapacityNotAvailable": Fault(NoCapacity, Scope.POOL, _WAIT),
    "SpotInstanceTermination": Fault(NoCapacity, Scope.POOL, _WAIT),
    "Unsupported": Fault(NoCapacity, Scope.POOL, "the zone does not offer that type: allow more zones or types"),
    "UnsupportedOperation": Fault(BrokenRequest, Scope.TYPE, "choose another instance type or image"),
    "SpotMaxPriceTooLow": Fault(PriceTooHigh, Scope.POOL, "raise limits.max_price; `gpurun offers` shows prices"),
    "MaxSpotInstanceCountExceeded": Fault(QuotaExceeded, Scope.REGION, QUOTA_ADVICE),
    "MaxSpotFleetRequestCountExceeded": Fault(QuotaExceeded, Scope.REGION, QUOTA_ADVICE),
    "VcpuLimitExceeded": Fault(QuotaExceeded, Scope.REGION, QUOTA_ADVICE),
    "InstanceLimitExceeded": Fault(QuotaExceeded, Scope.REGION, QUOTA_ADVICE),
    "FleetLimitExceeded": Fault(QuotaExceeded, Scope.REGION, QUOTA_ADVICE),
    "VolumeLimitExceeded": Fault(QuotaExceeded, Scope.REGION, "delete volumes that nothing uses: gpurun gc"),
    "AddressLimitExceeded": Fault(QuotaExceeded, Scope.REGION, "release addresses that nothing uses"),
    "SecurityGroupLimitExceeded": Fault(QuotaExceeded, Scope.REGION, "delete groups that nothing uses: gpurun gc"),
    "RulesPerSecurityGroupLimitExceeded": Fault(QuotaExceeded, Scope.REGION, "gpurun gc"),
    "KeyPairLimitExceeded": Fault(QuotaExceeded, Scope.REGION, "delete key pairs that nothing uses: gpurun gc"),
    "UnauthorizedOperation": Fault(NotPermitted, Scope.ACCOUNT, _POLICY),
    "AccessDenied": Fault(NotPermitted, Scope.ACCOUNT, _POLICY),
    "AccessDeniedException": Fault(NotPermitted, Scope.ACCOUNT, _POLICY),
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": Fault(NotPermitted, Scope.ACCOUNT, _SPOT_ROLE),
    "UnauthorizedOperation.ServiceLinkedRole": Fault(NotPermitted, Scope.ACCOUNT, _SPOT_ROLE),
    "InvalidFleetConfiguration.ServiceLinkedRole": Fault(NotPermitted, Scope.ACCOUNT, _SPOT_ROLE),
    "OptInRequired": Fault(NotPermitted, Scope.REGION, "aws account enable-region --region-name {region}"),
    "PendingVerification": Fault(NotPermitted, Scope.ACCOUNT, "AWS still verifies the account: wait for its e-mail"),
    "Blocked": Fault(NotPermitted, Scope.ACCOUNT, "the account is blocked: https://aws.amazon.com/support"),
    "AuthFailure": Fault(CredentialsError, Scope.ACCOUNT, _LOGIN),
    "InvalidClientTokenId": Fault(CredentialsError, Scope.ACCOUNT, _LOGIN),
    "UnrecognizedClientException": Fault(CredentialsError, Scope.ACCOUNT, _LOGIN),
    "SignatureDoesNotMatch": Fault(CredentialsError, Scope.ACCOUNT, _LOGIN),
    "InvalidAccessKeyId": Fault(CredentialsError, Scope.ACCOUNT, _LOGIN),
    "MissingAuthenticationToken": Fault(CredentialsError, Scope.ACCOUNT, _LOGIN),
    "ExpiredToken": Fault(CredentialsError, Scope.ACCOUNT, "aws sso login{profile}"),
    "ExpiredTokenException": Fault(CredentialsError, Scope.ACCOUNT, "aws sso login{profile}"),
    # EC2's word for a session token past its time, and for a clock that is far off.
    "RequestExpired": Fault(
        CredentialsError, Scope.ACCOUNT, "aws sso login{profile}, or new keys; if they are new, " + _CLOCK
    ),
    "InvalidAMIID.NotFound": Fault(BrokenRequest, Scope.REGION, _IMAGE),
    "InvalidAMIID.Malformed": Fault(BrokenRequest, Scope.ACCOUNT, _IMAGE),
    "InvalidAMIID.Unavailable": Fault(BrokenRequest, Scope.REGION, _IMAGE),
    "InvalidInstanceType": Fault(BrokenRequest, Scope.TYPE, "gpurun offers"),
    "InvalidBlockDeviceMapping": Fault(BrokenRequest, Scope.TYPE, "give resources.disk at least the image's size"),
    "VPCIdNotSpecified": Fault(BrokenRequest, Scope.REGION, _DEFAULT_VPC),
    "MissingInput": Fault(BrokenRequest, Scope.REGION, _DEFAULT_VPC),
    "InvalidKey.Format": Fault(BrokenRequest, Scope.ACCOUNT, "EC2 takes RSA and ed25519 keys: ssh-keygen -t ed25519"),
    "InvalidKeyPair.Format": Fault(
        BrokenRequest, Scope.ACCOUNT, "EC2 takes RSA and ed25519 keys: ssh-keygen -t ed25519"
    ),
    "IdempotentParameterMismatch": Fault(BrokenRequest, Scope.ACCOUNT, "gpurun down the run, then launch it anew"),
    # EventBridge Scheduler's.
    "ServiceQuotaExceededException": Fault(
        QuotaExceeded, Scope.REGION, "remove schedules that nothing uses: gpurun gc"
    ),
    "ValidationException": Fault(BrokenRequest, Scope.REGION, _BUG),
    "ResourceNotFoundException": Fault(BrokenRequest, Scope.REGION, _BUG),
    "ConflictException": Fault(ProvisionError, Scope.REGION, _LATER),
    "InternalServerException": Fault(ProvisionError, Scope.REGION, _LATER),
    "RequestLimitExceeded": Fault(ProvisionError, Scope.REGION, _LATER),
    "Throttling": Fault(ProvisionError, Scope.REGION, _LATER),
    "ThrottlingException": Fault(ProvisionError, Scope.REGION, _LATER),
    "InternalError": Fault(ProvisionError, Scope.REGION, _LATER),
    "InternalFailure": Fault(ProvisionError, Scope.REGION, _LATER),
    "ServiceUnavailable": Fault(ProvisionError, Scope.REGION, _LATER),
    "Unavailable": Fault(ProvisionError, Scope.REGION, _LATER),
}

PASSING = frozenset(
    {
        *("RequestLimitExceeded", "Throttling", "ThrottlingException", "InternalError", "InternalFailure"),
        *("InternalServerException", "ServiceUnavailable", "Unavailable", "RequestTimeout", "500", "502", "503", "504"),
    }
)
"""Codes that say nothing of the request: the same one, with the same token, may succeed a moment later."""

LOST_REPLY = (
    boto.ReadTimeoutError,
    boto.ConnectTimeoutError,
    boto.ConnectionClosedError,
    boto.EndpointConnectionError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    ResponseParserError,
)
"""After these nobody knows whether AWS acted."""

FOREIGN = (boto.BotoCoreError, boto.ClientError, boto.HTTPClientError, ResponseParserError)
"""All that botocore raises."""

_UNKNOWN = Fault(ProvisionError, Scope.POOL, _BUG)
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")
_ENCODED = re.compile(r"Encoded authorization failure message: (\S+)")


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
        return Fault(BrokenRequest, Scope.ACCOUNT, _BUG)
    return _UNKNOWN


def scope(code: str) -> Scope:
    """How much of the search an error code rules out."""
    return fault_of(code).scope


def code_of(error: BaseException) -> str:
    """The AWS error code that an exception carries; empty where there is none."""
    response = error.response if isinstance(error, boto.ClientError) else {}
    return str(response.get("Error", {}).get("Code", ""))


def translate(
    error: Exception,
    *,
    doing: str,
    profile: str | None = None,
    region: str | None = None,
    decode: Callable[[str], str] | None = None,
) -> GpurunError:
    """Our error for one of botocore's; `doing` says what was attempted ("import the key pair").

    `decode` turns the encoded message of an authorisation failure into JSON (sts:DecodeAuthorizationMessage).
    """
    if isinstance(error, GpurunError):
        return error
    if isinstance(error, boto.ClientError):
        return _of_code(error, doing, profile, region, decode)
    login = f"aws sso login{_profile_option(profile)}"
    where = f" in {region}" if region else ""
    for kinds, make in _without_code(login):
        if isinstance(error, kinds):
            return make(f"cannot {doing}{where}: {error}")
    return ProvisionError(f"cannot {doing}: {error}", hint=_BUG)


def _of_code(
    error: boto.ClientError,
    doing: str,
    profile: str | None,
    region: str | None,
    decode: Callable[[str], str] | None,
) -> GpurunError:
    code = code_of(error)
    message = str(error.response.get("Error", {}).get("Message", "")) or code
    fault = fault_of(code, message)
    hint = fault.advice.replace("{profile}", _profile_option(profile)).replace("{region}", region or "REGION")
    if fault.error is NotPermitted:
        action = missing_action(message, decode)
        message = _ENCODED.sub("", message).strip()
        hint = f"the identity lacks {action}: {hint}" if action else hint
    where = f" in {region}" if region else ""
    text = f"cannot {doing}{where}: {message} ({code})"
    if issubclass(fault.error, ProvisionError):
        return fault.error(text, hint=hint, code=code)
    return fault.error(text, hint=hint)


def missing_action(message: str, decode: Callable[[str], str] | None = None) -> str:
    """The IAM action that an authorisation failure names, in clear or encoded; empty where it names none."""
    named = _ACTION.search(message)
    if named:
        return named.group(1)
    encoded = _ENCODED.search(message)
    if encoded is None or decode is None:
        return ""
    try:
        return str(json.loads(decode(encoded.group(1)))["context"]["action"])
    except (boto.BotoCoreError, boto.ClientError, ValueError, KeyError):
        return ""  # decoding is a courtesy, and itself a permission


def _without_code(
    login: str,
) -> tuple[tuple[tuple[type[Exception], ...], Callable[[str], GpurunError]], ...]:
    return (
        (
            (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError),
            lambda text: CredentialsError(text, hint=f"aws configure (or, with IAM Identity Center: {login})"),
        ),
        (
            (boto.ProfileNotFound, boto.ConfigNotFound, boto.InvalidConfigError, boto.ConfigParseError),
            lambda text: CredentialsError(text, hint="aws configure list-profiles"),
        ),
        (
            (boto.SSOError, boto.TokenRetrievalError, boto.UnauthorizedSSOTokenError),
            lambda text: CredentialsError(text, hint=login),
        ),
        (
            (boto.NoRegionError,),
            lambda text: SpecError(text, hint="aws configure set region us-east-1"),
        ),
        (
            (boto.InvalidRegionError,),
            lambda text: SpecError(text, hint="aws ec2 describe-regions --query 'Regions[].RegionName'"),
        ),
        (
            (boto.ParamValidationError,),
            lambda text: BrokenRequest(text, hint=_BUG),
        ),
        (
            (ResponseParserError,),
            lambda text: ProvisionError(text.partition("invalid XML received")[0].rstrip(", "), hint=_NETWORK),
        ),
        (
            (boto.HTTPClientError, boto.ConnectionError),
            lambda text: ProvisionError(text, hint=_NETWORK),
        ),
    )


def _profile_option(profile: str | None) -> str:
    return f" --profile {profile}" if profile else ""


@contextmanager
def aws_errors(
    doing: str,
    *,
    profile: str | None = None,
    region: str | None = None,
    decode: Callable[[str], str] | None = None,
) -> Iterator[None]:
    """Raise our errors in place of botocore's."""
    try:
        yield
    except FOREIGN as error:
        _raise(translate(error, doing=doing, profile=profile, region=region, decode=decode), error)


def _raise(ours: GpurunError, cause: Exception) -> NoReturn:
    raise ours from cause
