"""What every command opens first: the state folder, the ledger, and the cloud that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.errors import SpecError
from launcher.paths import StatePaths, state_home

if TYPE_CHECKING:
    from launcher.domain import Account
    from launcher.ledger import Ledger, RunRecord
    from launcher.live import LiveRun
    from launcher.ports import Reporter


def state() -> StatePaths:
    """The state folder's layout."""
    return StatePaths(state_home())


def ledger() -> Ledger:
    """The ledger, made when it is not there."""
    from launcher.ledger import Ledger

    return Ledger.open(state().ledger)


def account(*, sandbox: bool, profile: str | None = None, region: str | None = None) -> Account:
    """The cloud that the command line means; `--sandbox` starts one here when none runs."""
    from launcher.domain import Account

    if not sandbox:
        return Account(profile=profile, region=region)
    if profile is not None:
        raise SpecError("--sandbox and --profile name two clouds", hint="leave one of them out")
    from launcher.sandbox import control

    return control.start(state().sandbox).account


def live_run(record: RunRecord, book: Ledger, reporter: Reporter) -> LiveRun:
    """A run from the ledger, ready to be worked on."""
    from launcher import live

    return live.restore(record, ledger=book, state=state(), reporter=reporter)
