"""What commands hand to the planner: the cloud to ask, and what earlier runs tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.domain import Account, Requirements
    from launcher.ledger import Ledger
    from launcher.plan import Experience

ALL_REGIONS = "all"
SHOWN_REGION = "us-east-1"
"""Where prices are shown to somebody who has not set a region yet."""


def home_region(regions: list[str] | None) -> str | None:
    """The region that `--region` makes the account's own; none where it says `all`, or nothing."""
    return next((name for name in regions or [] if name != ALL_REGIONS), None)


def cloud(account: Account, requirements: Requirements, *, rehearsal: bool) -> Aws:
    """Who is asked for offers; raises `SpecError` where no region is set, unless it is a rehearsal."""
    from launcher.aws.client import Aws

    try:
        return Aws(account)
    except SpecError:
        region = home_region([*requirements.regions]) or (SHOWN_REGION if rehearsal else None)
        if region is None:
            raise
        return Aws(account, region)


def known(book: Ledger, account: Account, name: str, checkpoint_size: str | None) -> Experience:
    """What earlier runs tell, and the size of a checkpoint where the user does; raises `SpecError` for no size."""
    from launcher import plan
    from launcher.domain import Measured
    from launcher.spec import values

    found = plan.experience(book, account, name)
    if checkpoint_size is None:
        return found
    try:
        size_bytes = values.size_bytes(checkpoint_size)
    except ValueError as fault:
        raise SpecError(f"--checkpoint-size: {fault}", hint="such as --checkpoint-size '2 GB'") from None
    return replace(found, checkpoint_bytes=Measured(value=size_bytes, source="--checkpoint-size"))
