"""What a run's machine has sent to its outputs in S3: a line of `gpurun status RUN`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from launcher import render
from launcher.errors import GpurunError

if TYPE_CHECKING:
    from launcher.ledger import RunRecord

STALE_S = 900.0
"""A machine that runs its job sends output and log twice a minute, where they change."""


def line(record: RunRecord) -> str:
    """The newest generation there and its age; empty for a run whose results only go home."""
    from launcher import spec
    from launcher.aws import durable
    from launcher.aws.client import Aws
    from launcher.ledger import account_from_text

    try:
        uri = spec.restore(record.spec).outputs
    except GpurunError:
        return ""  # another version's: the rest of the run is told all the same
    if not isinstance(uri, str):
        return ""
    try:
        found = durable.newest(Aws(account_from_text(record.account), record.region), uri, record.run_id)
    except GpurunError as error:
        return f"outputs   {uri}: {error.message}"
    if found is None:
        return f"outputs   {uri}: nothing has come there yet"
    at = datetime.fromtimestamp(found.at_epoch_s, UTC)
    size = f"{found.files} files, {render.size(found.size_bytes)}"
    if found.complete:
        return f"outputs   {uri}: all of it, {size}"
    stale = not record.status.final and (datetime.now(UTC) - at).total_seconds() > STALE_S
    older = f"; nothing newer since: gpurun resume {record.run_id} tells why" if stale else ""
    return f"outputs   {uri}: {size}, {render.age(at)} old{older}"
