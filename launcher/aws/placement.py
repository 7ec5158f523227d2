"""How likely EC2 thinks a spot request is to succeed, by region."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from launcher.aws.offercache import OfferCache, kept
from launcher.errors import GpurunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.aws.client import Aws

MAX_AGE = timedelta(hours=1)
"""Also for an answer that did not come: EC2 counts how many different questions an account asks in a day."""
MIN_TYPES = 3
"""With fewer the score is always low, and tells nothing (EC2 API Reference, GetSpotPlacementScores)."""
MAX_REGIONS = 10
"""That one question may name."""


def scores(aws: Aws, regions: Sequence[str], types: Sequence[str], cache: OfferCache) -> dict[str, int]:
    """EC2's spot placement score of each region, from 1 to 10, in one call; empty where it gives none.

    It is of all the types together, and EC2's guess of whether a request succeeds, not of interruptions (EC2 User
    Guide, "Spot placement score").
    """
    names = sorted(set(types))
    if len(names) < MIN_TYPES:
        return {}
    wanted = sorted(dict.fromkeys(regions))[:MAX_REGIONS]
    digest = hashlib.sha256(",".join([*wanted, "", *names]).encode()).hexdigest()[:16]
    key = f"placement/1/{aws.endpoint}/{aws.region}/{aws.profile}/{digest}"
    found = kept(cache, key, MAX_AGE)
    if found is not None:
        return dict(found.value)
    answer = _fetch(aws, wanted, names)
    cache.put(key, json.dumps(answer))
    return answer


def _fetch(aws: Aws, regions: Sequence[str], types: Sequence[str]) -> dict[str, int]:
    try:
        with aws.errors("read the spot placement scores"):
            answer = aws.ec2_once.get_spot_placement_scores(
                InstanceTypes=list(types), TargetCapacity=1, RegionNames=list(regions)
            )
    except GpurunError:
        return {}  # a courtesy, and a permission of its own: the plan does without
    rows = answer.get("SpotPlacementScores", [])
    return {row["Region"]: row["Score"] for row in rows if "AvailabilityZoneId" not in row}
