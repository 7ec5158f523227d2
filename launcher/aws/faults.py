"""From what botocore raises to what a user can act on, by the table of error codes."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from boto3.exceptions import RetriesExceededError, S3UploadFailedError
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from launcher.aws.faulttable import (
    BAKE_ACTIONS,
    BAKE_POLICY,
    BUG,
    DEPLOY_ACTIONS,
    DEPLOY_POLICY,
    TABLE,
    Fault,
    Kind,
    Scope,
    fault_of,
    scope,
)
from launcher.errors import BrokenRequest, CredentialsError, GpurunError, ProvisionError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "FOREIGN",
    "LOST_REPLY",
    "TABLE",
    "Fault",
    "Kind",
    "Scope",
    "aws_errors",
    "code_of",
    "fault_of",
    "missing_action",
    "scope",
    "translate",
]


_NETWORK = "check the network, the endpoint and the region's name, then repeat"

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

_OF_TRANSFERS = (RetriesExceededError, S3UploadFailedError)
"""What boto3's transfers make of them, when a file goes up or comes down."""

_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")
_ENCODED = re.compile(r"Encoded authorization failure message: (\S+)")


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
    """Our error for one of botocore's; `doing` says what was attempted ("make the launch template").

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
    return ProvisionError(f"cannot {doing}: {error}", hint=BUG)


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
    hint = fault.step(region=region or "", profile=profile or "")
    if fault.kind is Kind.PERMISSION:
        action = missing_action(message, decode)
        message = _ENCODED.sub("", message).strip()
        hint = BAKE_POLICY if action in BAKE_ACTIONS else DEPLOY_POLICY if action in DEPLOY_ACTIONS else hint
        hint = f"the identity lacks {action}: {hint}" if action else hint
    where = f" in {region}" if region else ""
    text = f"cannot {doing}{where}: {message} ({code})"
    raised = fault.error
    return raised(text, hint=hint, code=code) if issubclass(raised, ProvisionError) else raised(text, hint=hint)


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
            lambda text: BrokenRequest(text, hint=BUG),
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
    except (*FOREIGN, *_OF_TRANSFERS) as error:
        cause = _within(error)
        _raise(translate(cause, doing=doing, profile=profile, region=region, decode=decode), error)


def _within(error: Exception) -> Exception:
    """What a transfer failed for."""
    if not isinstance(error, _OF_TRANSFERS):
        return error
    last = getattr(error, "last_exception", None) or error.__context__
    return last if isinstance(last, FOREIGN) else boto.HTTPClientError(error=last or error)


def _raise(ours: GpurunError, cause: Exception) -> NoReturn:
    raise ours from cause
