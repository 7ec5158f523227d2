"""The journal of all runs on this laptop: SQLite, standard library alone, quick to open."""

from launcher.ledger.cache import OfferCache
from launcher.ledger.comparisons import ComparisonRecord
from launcher.ledger.journal import Ledger
from launcher.ledger.naming import new_run_id
from launcher.ledger.records import (
    CostRow,
    EventRecord,
    ResourceRecord,
    RunChanges,
    RunRecord,
    account_from_text,
    account_to_text,
    receipt_from_text,
    receipt_to_text,
)
from launcher.ledger.schedules import ScheduleRecord
from launcher.ledger.ticks import Owner, Tick, TickRecord, TickStatus

__all__ = [
    "ComparisonRecord",
    "CostRow",
    "EventRecord",
    "Ledger",
    "OfferCache",
    "Owner",
    "ResourceRecord",
    "RunChanges",
    "RunRecord",
    "ScheduleRecord",
    "Tick",
    "TickRecord",
    "TickStatus",
    "account_from_text",
    "account_to_text",
    "new_run_id",
    "receipt_from_text",
    "receipt_to_text",
]
