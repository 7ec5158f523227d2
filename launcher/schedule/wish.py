"""What a schedule asks of its challengers and whom it tells, as the ledger keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from launcher.schedule import gate

if TYPE_CHECKING:
    from launcher.ledger import ScheduleRecord

WARM_STARTS = ("champion",)


def of(schedule: ScheduleRecord) -> gate.Wish | None:
    """Its gate; `None` where nobody but a person promotes."""
    if not schedule.metric:
        return None
    amount, relative = gate.parse_gain(schedule.min_gain) if schedule.min_gain else (0.0, False)
    return gate.Wish(
        metric=schedule.metric,
        better=schedule.better,
        min_gain=amount,
        relative=relative,
        canary=int(json.loads(schedule.options).get("canary") or 1),
    )


def notify(schedule: ScheduleRecord) -> tuple[str, ...]:
    """Whom it tells: addresses of apprise, which are secrets."""
    return tuple(json.loads(schedule.options).get("notify") or ())


def text(schedule: ScheduleRecord) -> str:
    """The gate in a line."""
    wish = of(schedule)
    if wish is None:
        return "none: gpurun weights promote decides"
    gain = f" by at least {schedule.min_gain}" if schedule.min_gain else ""
    row = f", {wish.canary} good retrains in a row" if wish.canary > 1 else ""
    return f"{wish.metric} {wish.better} than the champion's{gain}{row}"
