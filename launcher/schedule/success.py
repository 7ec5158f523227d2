"""After a run that succeeded: its weights become a challenger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.errors import ChampionMoved
from launcher.ledger import account_from_text
from launcher.registry.enrol import enrol
from launcher.registry.place import open_store
from launcher.registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.aws.client import Aws
    from launcher.domain import RunId
    from launcher.ledger import Ledger, ScheduleRecord
    from launcher.paths import StatePaths


def on_success(
    schedule: ScheduleRecord, run_id: RunId, book: Ledger, state: StatePaths, cloud: Callable[[], Aws]
) -> tuple[str, str]:
    """Register the run's weights under the run's name; gives NAME@NUMBER and what became of it.

    The first version of a name is made champion, for want of another; every later one waits as a challenger. The same
    run again gives the same version. Raises `WeightsError` where there are none that can be trusted.
    """
    record = book.get(run_id)
    registry = Registry(open_store(schedule.store, account=account_from_text(record.account)))
    version = enrol(registry, record, book, state, cloud=cloud)
    log = registry.history(version.name)
    if log.champion == version.number:
        return str(version), "champion"
    if log.champion is not None:
        return str(version), f"challenger of {version.name}@{log.champion}"
    try:
        registry.promote(version.name, version.number, expected_champion=None, why="the first of its name")
    except ChampionMoved:
        return str(version), "challenger"
    return str(version), "champion: the first of its name"
