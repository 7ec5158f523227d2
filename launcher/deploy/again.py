"""One launch more, outside the clock's times: after an interruption, or because somebody asks.

It is what the clock would launch, asked of EventBridge Scheduler once, so that whoever asks needs no permission to
launch anything: a machine's own role has none.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from launcher.aws import recurring
from launcher.deploy import names
from launcher.errors import GpurunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.aws.client import Aws
    from launcher.deploy.machine import About
    from launcher.deploy.unpacked import Unpacked

NOW, RETRY = "now", "retry"
FEWEST_S = 600
"""What is left must be worth a boot."""
SOON = timedelta(seconds=5)


def once(aws: Aws, name: str, cause: str, *, left_s: int | None = None, at: datetime | None = None) -> datetime:
    """Have one machine launched at a time, else at once; gives the time. Raises what AWS answers."""
    when = (at or datetime.now(UTC) + SOON).replace(microsecond=0)
    group = names.group(name)
    like = recurring.get(aws, group, "cron-1")
    recurring.put(
        aws,
        recurring.Recurring(
            group=group,
            name=f"once-{when:%Y%m%dT%H%M%S}",
            expression=f"at({when:%Y-%m-%dT%H:%M:%S})",
            zone="UTC",
            role_arn=like["Target"]["RoleArn"],
            fleet=_told(name, json.loads(like["Target"].get("Input", "{}")), cause, left_s),
        ),
    )
    return when


def soon(aws: Aws, unpacked: Unpacked, about: About, ends_at: datetime, tell: Callable[[str], None]) -> None:
    """Have another machine go on with the tick of one that is taken back, within what time it has left."""
    left_s = int((ends_at - datetime.now(UTC)).total_seconds())
    if left_s < FEWEST_S:
        tell(f"{left_s} seconds are left of its time: no other machine is asked for")
        return
    try:
        once(aws, unpacked.name, RETRY, left_s=left_s)
    except GpurunError as error:
        tell(f"no other machine could be asked for: {error.message}")
    else:
        tell(f"another machine is asked for in place of {about.instance_id}, for {left_s} seconds at most")


def _told(name: str, fleet: dict[str, Any], cause: str, left_s: int | None) -> dict[str, Any]:
    """The fleet with other tags on its machine."""
    changed = {names.TAG_CAUSE: cause, **({names.TAG_LEFT_S: str(left_s)} if left_s is not None else {})}
    fleet["ClientToken"] = names.token(name, recurring.SCHEDULED_TIME, cause)
    for each in fleet["TagSpecifications"]:
        if each["ResourceType"] == "instance":
            kept = [tag for tag in each["Tags"] if tag["Key"] not in changed]
            each["Tags"] = [*kept, *({"Key": key, "Value": value} for key, value in changed.items())]
    return fleet
