"""What the cloud says when it refuses: EC2's codes, statuses and messages, and their likes in other services.

Source: Amazon EC2 API Reference, "Error codes for the Amazon EC2 API".
"""

from __future__ import annotations

from dataclasses import dataclass

THROTTLING = "throttling"
INVALID_CREDENTIALS = "invalid-credentials"
EXPIRED_CREDENTIALS = "expired-credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error code with its HTTP status and message."""

    code: str
    status: int
    message: str


_MESSAGES: dict[str, tuple[int, str]] = {
    "InsufficientInstanceCapacity": (
        500,
        "We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested "
        "({zone}). Our system will be working on provisioning additional capacity. You can currently get "
        "{instance_type} capacity by not specifying an Availability Zone in your request or choosing another one.",
    ),
    "UnfulfillableCapacity": (
        400,
        "Unable to fulfill capacity due to your request configuration. Please adjust your request and try again.",
    ),
    "SpotMaxPriceTooLow": (
        400,
        "Your Spot request price of {max_price} is lower than the minimum required Spot request "
        "fulfillment price of {spot_price}.",
    ),
    "MaxSpotInstanceCountExceeded": (400, "Max spot instance count exceeded"),
    "VcpuLimitExceeded": (
        400,
        "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance "
        "bucket that the specified instance type belongs to. Please visit "
        "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
    ),
    "InstanceLimitExceeded": (400, "Your quota allows for 0 more running instance(s)."),
    "Unsupported": (
        400,
        "Your requested instance type ({instance_type}) is not supported in your requested Availability Zone "
        "({zone}). Please retry your request by not specifying an Availability Zone or choosing another one.",
    ),
    "RequestLimitExceeded": (503, "Request limit exceeded."),
    "Throttling": (400, "Rate exceeded"),
    "ThrottlingException": (400, "Rate exceeded"),
    "TooManyRequestsException": (429, "Too Many Requests"),
    "SlowDown": (503, "Please reduce your request rate."),
    "InternalError": (500, "An internal error has occurred"),
    "Unavailable": (503, "The service is unavailable. Please try again shortly."),
    "UnauthorizedOperation": (
        403,
        "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/sandbox is not "
        "authorized to perform: {service}:{action} because no identity-based policy allows the action",
    ),
    "AccessDeniedException": (
        400,
        "User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: {service}:{action}",
    ),
    "AuthFailure": (401, "AWS was not able to validate the provided access credentials"),
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": (
        403,
        "The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances.",
    ),
    "OptInRequired": (403, "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe."),
    "RequestExpired": (400, "Request has expired."),
    "ExpiredToken": (403, "The security token included in the request is expired"),
    "ExpiredTokenException": (400, "The security token included in the request is expired"),
    "InvalidClientTokenId": (403, "The security token included in the request is invalid."),
    "UnrecognizedClientException": (400, "The security token included in the request is invalid."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidAMIID.NotFound": (400, "The image id does not exist"),
    "IdempotentParameterMismatch": (
        400,
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
    ),
}

_OWN_WORDS = {
    THROTTLING: {
        "ec2": "RequestLimitExceeded",
        "sts": "Throttling",
        "iam": "Throttling",
        "s3": "SlowDown",
        "servicequotas": "TooManyRequestsException",
    },
    INVALID_CREDENTIALS: {
        "ec2": "AuthFailure",
        "sts": "InvalidClientTokenId",
        "iam": "InvalidClientTokenId",
        "s3": "InvalidAccessKeyId",
    },
    EXPIRED_CREDENTIALS: {"ec2": "RequestExpired", "sts": "ExpiredToken", "iam": "ExpiredToken", "s3": "ExpiredToken"},
}
_OWN_WORDS_JSON = {
    THROTTLING: "ThrottlingException",
    INVALID_CREDENTIALS: "UnrecognizedClientException",
    EXPIRED_CREDENTIALS: "ExpiredTokenException",
}


class _Blank(dict[str, object]):
    """Leaves `{name}` out where a message asks for what the request does not say."""

    def __missing__(self, key: str) -> str:
        return ""


def refusal(
    code: str, *, service: str = "ec2", status: int | None = None, message: str | None = None, **facts: object
) -> Refusal:
    """The refusal for an error code, its message filled in with `facts`.

    `throttling`, `invalid-credentials` and `expired-credentials` become what each service says of those; EC2's own word
    for throttling is understood so too.
    """
    code = THROTTLING if code == "RequestLimitExceeded" else code
    if code in _OWN_WORDS:
        code = _OWN_WORDS[code].get(service, _OWN_WORDS_JSON[code])
    known_status, template = _MESSAGES.get(code, (400, code))
    text = message if message is not None else template.format_map(_Blank(service=service, **facts))
    return Refusal(code=code, status=status or known_status, message=text)
