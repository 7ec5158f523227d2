"""A ledger of the test's own, and runs to put into it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.domain import Account, RunId, RunStatus
from launcher.ledger import Ledger, RunRecord, account_to_text, new_run_id

MakeRun = Callable[..., RunRecord]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path) as opened:
        yield opened


@pytest.fixture
def make_run() -> MakeRun:
    def make(name: str = "digits", **given: object) -> RunRecord:
        now = datetime.now(UTC)
        values: dict[str, object] = {
            "run_id": RunId(new_run_id(name)),
            "name": name,
            "status": RunStatus.PLANNED,
            "created_at": now,
            "updated_at": now,
            "account": account_to_text(Account()),
            "region": "us-east-1",
            "spec": "{}",
            "results_dir": "runs/x",
            "token": "token",
        }
        return RunRecord(**{**values, **given})  # type: ignore[arg-type]

    return make
