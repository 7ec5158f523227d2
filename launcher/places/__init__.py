"""The places that a run's machine comes from: the seam, and who stands behind it."""

from launcher.domain import AWS
from launcher.live import LiveRun
from launcher.places import cloud, owned
from launcher.places.seam import Place

__all__ = ["Place", "of"]


def of(live: LiveRun) -> Place:
    """The place of a run, by its row in the ledger."""
    return cloud if live.record.place == AWS else owned
