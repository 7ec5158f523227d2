"""Which regions an account may use."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from launcher.errors import NotPermitted, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.aws.client import Aws

OFF = "not-opted-in"


def enabled(aws: Aws) -> list[str]:
    """The regions that the account may use, sorted."""
    return sorted(region for region, status in _all(aws).items() if status != OFF)


def check(aws: Aws, wanted: Sequence[str]) -> None:
    """Raise `SpecError` for a region that does not exist, `NotPermitted` for one that is not enabled."""
    known = _all(aws)
    usable = sorted(region for region, status in known.items() if status != OFF)
    for region in wanted:
        if region not in known:
            near = difflib.get_close_matches(region, usable, n=1)
            raise SpecError(
                f"there is no AWS region {region!r}; enabled ones: {', '.join(usable)}",
                hint=f"did you mean {near[0]}?" if near else "aws ec2 describe-regions",
            )
        if known[region] == OFF:
            raise NotPermitted(
                f"region {region} is not enabled for this account; enabled ones: {', '.join(usable)}",
                hint=f"aws account enable-region --region-name {region}",
                code="OptInRequired",
            )


def _all(aws: Aws) -> dict[str, str]:
    with aws.errors("list the regions"):
        answer = aws.ec2.describe_regions(AllRegions=True)
    return {region["RegionName"]: region.get("OptInStatus", "opt-in-not-required") for region in answer["Regions"]}
