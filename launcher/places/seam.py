"""What a run asks of the place that its machine comes from, so that its life reads the same wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from launcher.aws.refusals import Pool
from launcher.domain import Instance, Segment
from launcher.live import LiveRun
from launcher.ports import Lines


class Place(Protocol):
    """AWS, or a machine of the user's own; each method raises the `GpurunError` that it met."""

    @property
    def replaceable(self) -> bool:
        """Whether another machine can take over from one that is lost."""

    def apart(self, live: LiveRun) -> bool:
        """Whether its disk is another than this laptop's, so that what lies there alone may be lost."""

    def find(self, live: LiveRun, region: str) -> Sequence[Instance]:
        """The run's machines there as they are now, in any state, newest first."""

    def make(self, live: LiveRun, segment: int, *, avoid: frozenset[Pool], wait_until: datetime | None) -> Instance:
        """A machine for a segment that has none; `avoid` and `wait_until` are for places that have several."""

    def arm(self, live: LiveRun, instance: Instance, segment: int) -> None:
        """See that the machine ends at the run's deadline whatever becomes of this laptop."""

    def ready(self, live: LiveRun, instance: Instance) -> Instance:
        """Wait until it can be dialled; gives it with its address."""

    def lines(self, live: LiveRun, instance: Instance) -> Lines:
        """The lines to it; nothing is dialled yet."""

    def let_in(self, live: LiveRun, region: str) -> None:
        """Have its door follow this laptop to the address that it has now."""

    def end(self, live: LiveRun, segment: Segment) -> None:
        """End a segment's machine, and see it ended."""

    def vacate(self, live: LiveRun) -> None:
        """Remove all that was made for the run, its machines first, and see it gone."""

    def left(self, live: LiveRun, *, held: bool) -> str:
        """What becomes of the machine of a run that nobody attends; `held`: it waits for its results."""
