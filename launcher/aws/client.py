"""Who we are to AWS, and the clients to speak to it with."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from launcher.aws.calls import Calls
from launcher.aws.faults import aws_errors
from launcher.errors import CredentialsError, SpecError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from types_boto3_ec2 import EC2Client
    from types_boto3_pricing import PricingClient
    from types_boto3_s3 import S3Client
    from types_boto3_scheduler import EventBridgeSchedulerClient
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_ssm import SSMClient
    from types_boto3_sts import STSClient

    from launcher.domain import Account

PRICING_REGION = "us-east-1"
"""The Price List API answers from few regions; this one has them all."""

Service = Literal["ec2", "sts", "ssm", "pricing", "service-quotas", "s3", "scheduler", "iam", "kms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose credentials these are."""

    account_id: str
    arn: str


class Aws:
    """One account in one region; clients are made on first use, kept, and safe to share between threads."""

    def __init__(self, account: Account, region: str | None = None) -> None:
        """Read the account's configuration; nothing is asked of AWS.

        Raises `SpecError` without a region, `CredentialsError` for an unknown profile.
        """
        self.account = account
        with aws_errors("read the AWS configuration"):
            self._session = _session(account)
            self.calls = Calls(self._session)
            self._boto3 = boto3.Session(botocore_session=self._session)
            self._endpoint_url = _configured_endpoint(account, self._session)
            found = region or _configured_region(account, self._session)
        if not found:
            raise SpecError("no AWS region is set", hint="aws configure set region us-east-1")
        self.region: str = found
        self._lock = threading.RLock()
        self._siblings: dict[str, Aws] = {found: self}

    def at(self, region: str) -> Aws:
        """The same account in another region."""
        with self._lock:
            if region not in self._siblings:
                self._siblings[region] = _sibling(self, region)
            return self._siblings[region]

    @property
    def profile(self) -> str | None:
        """The profile's name, where one is in use."""
        return self._session.profile

    @cached_property
    def ec2(self) -> EC2Client:
        """EC2, with standard retries."""
        return cast("EC2Client", self._client("ec2", _config(attempts=6)))

    @cached_property
    def launcher_ec2(self) -> EC2Client:
        """EC2 for the launch call, without retries: botocore takes lack of capacity (500) for a hiccup."""
        return cast("EC2Client", self._client("ec2", _config(attempts=1, read_timeout_s=60)))

    @cached_property
    def ec2_once(self) -> EC2Client:
        """EC2 for questions that are a courtesy: asked once, and not waited for."""
        return cast("EC2Client", self._client("ec2", _config(attempts=1, connect_timeout_s=3, read_timeout_s=4)))

    @cached_property
    def sts(self) -> STSClient:
        """The Security Token Service."""
        return cast("STSClient", self._client("sts", _config(attempts=5)))

    @cached_property
    def ssm(self) -> SSMClient:
        """Systems Manager, for its public parameters."""
        return cast("SSMClient", self._client("ssm", _config(attempts=5)))

    @cached_property
    def pricing(self) -> PricingClient:
        """The Price List API."""
        config = _config(attempts=2, connect_timeout_s=3, read_timeout_s=10)
        return cast("PricingClient", self._client("pricing", config, PRICING_REGION))

    @cached_property
    def quotas(self) -> ServiceQuotasClient:
        """Service Quotas."""
        return cast("ServiceQuotasClient", self._client("service-quotas", _config(attempts=2)))

    @cached_property
    def s3(self) -> S3Client:
        """S3, signing with version 4 so that presigned links work in every region.

        They name the region too: at its first address AWS redirects, for some time, what is meant for a new bucket.
        """
        style: Literal["path", "virtual"] = "path" if self._endpoint_url else "virtual"
        return cast("S3Client", self._client("s3", _config(attempts=6, signature_version="s3v4", addressing=style)))

    @cached_property
    def scheduler(self) -> EventBridgeSchedulerClient:
        """EventBridge Scheduler; no run waits long for it."""
        config = _config(attempts=3, connect_timeout_s=3, read_timeout_s=10)
        return cast("EventBridgeSchedulerClient", self._client("scheduler", config))

    @cached_property
    def iam(self) -> Any:
        """IAM, for one look at a role by `doctor`."""
        return self._client("iam", _config(attempts=2, connect_timeout_s=3, read_timeout_s=10))

    @cached_property
    def kms(self) -> Any:
        """KMS, for one look at whose key an image has."""
        return self._client("kms", _config(attempts=2, connect_timeout_s=3, read_timeout_s=10))

    @property
    def anonymous(self) -> bool:
        """Whether no credentials were found anywhere."""
        with aws_errors("look for AWS credentials", profile=self.profile):
            return self._session.get_credentials() is None

    @property
    def endpoint(self) -> str:
        """EC2's endpoint as host or host:port: what tells one cloud from another."""
        if self._endpoint_url is not None:
            return urlsplit(self._endpoint_url).netloc  # without a client, whose making takes a quarter of a second
        return urlsplit(self.ec2.meta.endpoint_url).netloc

    @property
    def endpoint_variables(self) -> dict[str, str]:
        """The environment in which another process of this account finds the same cloud (SDK reference guide,
        "Service-specific endpoints"); empty where it is AWS's own.
        """
        found = (
            self._endpoint_url
            or os.environ.get("AWS_ENDPOINT_URL")
            or self._session.get_scoped_config().get("endpoint_url")
        )
        return {"AWS_ENDPOINT_URL": str(found)} if found else {}

    @property
    def checkip_url(self) -> str | None:
        """A service that says from which address the cloud sees us, where the profile names its own."""
        url = self._session.get_scoped_config().get("checkip_url")
        return str(url) if url else None

    @property
    def endpoint_host(self) -> str:
        """The name or address that EC2's endpoint has."""
        return urlsplit(self.ec2.meta.endpoint_url).hostname or ""

    def credentials_end(self) -> datetime | None:
        """When the present credentials end; `None` where they do not, or do not say."""
        with self.errors("read the AWS credentials"):
            found = self._session.get_credentials()
            if found is None:
                return None
            found.get_frozen_credentials()  # those near their end are refreshed now
        return getattr(found, "_expiry_time", None)  # botocore tells it in no other way

    def identity(self) -> Identity:
        """Whose credentials these are; raises `CredentialsError` where AWS refuses them."""
        with self.errors("find out who you are to AWS"):
            answer = self.sts.get_caller_identity()
        return Identity(account_id=answer["Account"], arn=answer["Arn"])

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Raise our errors in place of botocore's, with this account's profile and region in the advice."""
        return aws_errors(doing, profile=self.profile, region=self.region, decode=self._decode)

    def _decode(self, message: str) -> str:
        return self.sts.decode_authorization_message(EncodedMessage=message)["DecodedMessage"]

    def _client(self, service: Service, config: Config, region: str | None = None) -> object:
        with self._lock, aws_errors(f"set up the {service} client", profile=self.profile):
            if self._session.get_credentials() is None:
                raise CredentialsError(
                    "no AWS credentials were found",
                    hint="aws configure (or, with IAM Identity Center: aws configure sso)",
                )
            return self._boto3.client(
                service, region_name=region or self.region, endpoint_url=self._endpoint_url, config=config
            )


def _sibling(aws: Aws, region: str) -> Aws:
    other = Aws.__new__(Aws)
    # One session, lock and set of siblings for all regions: the EC2 model is parsed once (0.2 s).
    shared: dict[str, Any] = {key: aws.__dict__[key] for key in _SHARED}
    other.__dict__.update(shared, region=region)
    return other


_SHARED = ("account", "calls", "_session", "_boto3", "_endpoint_url", "_lock", "_siblings")


def _session(account: Account) -> botocore.session.Session:
    session = botocore.session.Session()
    if account.config_file is not None:
        session.set_config_variable("config_file", str(account.config_file))
    if account.credentials_file is not None:
        session.set_config_variable("credentials_file", str(account.credentials_file))
    profile = account.profile or ("default" if _own_files(account) else None)
    if profile is not None:
        # Once it is set, botocore leaves AWS_ACCESS_KEY_ID aside: the account is what the caller named.
        session.set_config_variable("profile", profile)
    session.user_agent_extra = "gpurun"
    return session


def _own_files(account: Account) -> bool:
    return account.config_file is not None or account.credentials_file is not None


def _configured_endpoint(account: Account, session: botocore.session.Session) -> str | None:
    if account.config_file is None:
        return None
    endpoint = session.get_scoped_config().get("endpoint_url")
    return str(endpoint) if endpoint else None


def _configured_region(account: Account, session: botocore.session.Session) -> str | None:
    if account.region:
        return account.region
    own = session.get_scoped_config().get("region") if account.config_file is not None else None
    # AWS_REGION is what the AWS CLI version 2 and the other SDKs read; botocore does not.
    return own or session.get_config_variable("region") or os.environ.get("AWS_REGION")


def _config(
    *,
    attempts: int,
    connect_timeout_s: float = 5,
    read_timeout_s: float = 30,
    signature_version: str | None = None,
    addressing: Literal["path", "virtual"] | None = None,
) -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        max_pool_connections=32,
        signature_version=signature_version,
        s3={"addressing_style": addressing} if addressing else None,
    )
