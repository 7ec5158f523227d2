"""A form that lets whoever has it put objects under one run's prefix, and do nothing else, until it expires.

A POST policy rather than links: file names are not known beforehand, one form is good for any number of objects, and
no upload can be left unfinished and billed. Source: Amazon S3 API Reference, "Creating a POST policy".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from launcher.errors import CredentialsError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import Place

MAX_OBJECT_BYTES = 5 << 30
"""Of one POST."""
MAX_LIFETIME = timedelta(days=7) - timedelta(minutes=5)
"""How long S3 takes a signature (Amazon S3 API Reference, "Authenticating requests: browser-based uploads")."""
GRACE = timedelta(minutes=15)
"""Beyond the machine's deadline, for clocks that differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The form, and until when it is good."""

    form: dict[str, Any] = field(repr=False)
    """A credential: for the machine, over the line to it, and for nothing and nobody else."""
    expires_at: datetime
    because: str
    """What makes it expire then; empty: it outlives what it was asked for."""

    def warning(self, deadline: datetime) -> str:
        """What to tell where it expires before the run must have ended; else empty."""
        if self.expires_at >= deadline:
            return ""
        return (
            f"the machine may send to the outputs bucket until {self.expires_at:%Y-%m-%d %H:%M} UTC only, because "
            f"{self.because}, and the run may last until {deadline:%Y-%m-%d %H:%M} UTC: an attached launcher renews "
            "it, a detached run sends nothing after that"
        )


def until(aws: Aws, wanted: datetime) -> tuple[datetime, str]:
    """Until when a form signed now is good, and what cuts it short of `wanted`, if anything does."""
    limits = [(wanted, ""), (datetime.now(UTC) + MAX_LIFETIME, "S3 takes a signature for seven days at most")]
    end = aws.credentials_end()
    if end is not None:
        limits.append((end, "your temporary AWS credentials end then"))
    return min(limits, key=lambda limit: limit[0])


def mint(aws: Aws, place: Place, run_id: str, *, segment: int, deadline: datetime) -> Grant:
    """Sign a form for one machine of a run; raises `CredentialsError` where credentials are missing or at their end."""
    expires_at, because = until(aws, deadline + GRACE)
    lifetime_s = int((expires_at - datetime.now(UTC)).total_seconds())
    if lifetime_s <= 0:
        raise CredentialsError("your temporary AWS credentials have ended", hint="aws sso login, or aws configure")
    prefix = place.run_prefix(run_id)
    here = aws.at(place.region)
    with here.errors(f"sign uploads to {place.uri}"):
        signed = here.s3.generate_presigned_post(
            place.bucket,
            f"{prefix}${{filename}}",
            Conditions=[
                ["starts-with", "$key", prefix],
                ["starts-with", "$x-amz-checksum-sha256", ""],
                ["content-length-range", 0, MAX_OBJECT_BYTES],
            ],
            ExpiresIn=lifetime_s,
        )
    form = {"url": signed["url"], "fields": signed["fields"], "prefix": prefix, "segment": segment}
    return Grant(form=form, expires_at=expires_at, because=because)
