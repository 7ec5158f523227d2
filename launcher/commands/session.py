"""What every command opens first: the state folder, the ledger, and the cloud that is meant."""

from __future__ import annotations

import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from launcher.errors import CredentialsError, SpecError
from launcher.paths import StatePaths, state_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.aws.client import Aws
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

    folder = state().sandbox
    running = control.status(folder)
    if running is None:
        sys.stderr.write("starting the sandbox cloud on this machine; a few seconds\n")
        running = control.start(folder)
        if running.warning:
            sys.stderr.write(f"warning: {running.warning}\n")
    return running.account


@contextmanager
def reporter(*, as_json: bool = False) -> Iterator[Reporter]:
    """Who tells the user what goes on, until the command is over: an error is told on a clean line."""
    from launcher import render

    with closing(render.reporter(as_json=as_json)) as chosen:
        yield chosen


def live_run(record: RunRecord, book: Ledger, reporter: Reporter) -> LiveRun:
    """A run from the ledger, ready to be worked on."""
    from launcher import live

    _require_cloud(record)
    return live.restore(record, ledger=book, state=state(), reporter=reporter)


def cloud_of(record: RunRecord) -> Aws:
    """The account that a run was launched with; raises `CredentialsError` where it is gone."""
    from launcher.aws.client import Aws
    from launcher.ledger import account_from_text

    _require_cloud(record)
    return Aws(account_from_text(record.account))


def _require_cloud(record: RunRecord) -> None:
    """See that the cloud of the run is still described where it was; a sandbox that was stopped is not."""
    from launcher.ledger import account_from_text

    config = account_from_text(record.account).config_file
    if config is not None and not config.exists():
        raise CredentialsError(
            f"the cloud of run {record.run_id} is gone: {config} is not there",
            hint=f"if it was the sandbox: gpurun sandbox start, then gpurun down {record.run_id}",
        )
