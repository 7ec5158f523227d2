"""Which regions an account may use."""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import TYPE_CHECKING

from launcher.aws.offercache import OfferCache, through
from launcher.errors import NotPermitted, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.aws.client import Aws

OFF = "not-opted-in"
MAX_AGE = timedelta(days=1)


def enabled(aws: Aws, cache: OfferCache | None = None) -> list[str]:
    """The regions that the account may use, sorted; those of up to a day ago where there is a cache."""
    return sorted(region for region, status in statuses(aws, cache).items() if status != OFF)


def check(aws: Aws, wanted: Sequence[str], cache: OfferCache | None = None) -> None:
    """Raise `SpecError` for a region that does not exist, `NotPermitted` for one that is not enabled."""
    known = statuses(aws, cache)
    if cache is not None and any(known.get(region, OFF) == OFF for region in wanted):
        known = statuses(aws, None)  # it may have been enabled since
    for region in wanted:
        objection = objection_to(region, known)
        if objection is not None:
            raise objection


def objection_to(region: str, known: dict[str, str]) -> SpecError | NotPermitted | None:
    """Why a region cannot be used, if it cannot; `known` is what `statuses` gave."""
    usable = sorted(each for each, status in known.items() if status != OFF)
    if region not in known:
        near = difflib.get_close_matches(region, usable, n=1)
        return SpecError(
            f"there is no AWS region {region!r}; enabled ones: {', '.join(usable)}",
            hint=f"did you mean {near[0]}?" if near else "aws ec2 describe-regions",
        )
    if known[region] == OFF:
        return NotPermitted(
            f"region {region} is not enabled for this account; enabled ones: {', '.join(usable)}",
            hint=f"aws account enable-region --region-name {region}",
            code="OptInRequired",
        )
    return None


def statuses(aws: Aws, cache: OfferCache | None = None) -> dict[str, str]:
    """Every region that there is, with the account's opt-in status."""
    if cache is None:
        return _fetch(aws)
    return dict(through(cache, f"regions/1/{aws.endpoint}/{aws.profile}", MAX_AGE, lambda: _fetch(aws)).value)


def _fetch(aws: Aws) -> dict[str, str]:
    with aws.errors("list the regions"):
        answer = aws.ec2.describe_regions(AllRegions=True)
    return {region["RegionName"]: region.get("OptInStatus", "opt-in-not-required") for region in answer["Regions"]}
