"""The gate and a registry: what the history says of a verdict, and who else promotes at that moment."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from launcher.ledger import TickStatus
from launcher.ledger.ticks import Tick
from launcher.registry.folder import Folder
from launcher.registry.history import Action, Stage
from launcher.registry.registry import Registry
from launcher.registry.version import About, Version
from launcher.schedule import facts, gate, success, worker
from tests.schedule.conftest import BEGIN, Desk

WISH = gate.Wish(metric="test_error", better="lower")
ROWS = "r" * 64


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Folder(tmp_path / "weights"))


def add(registry: Registry, folder: Path, error: float, **metrics: object) -> Version:
    path = folder / f"{error}.npz"
    np.savez(path, a=np.array([error]))
    return registry.add("tiny", {"w.npz": path}, About(run_id=f"tiny-{error}", metrics=metrics))


def evaluation(own: Version, rival: Version | None, **numbers: float) -> dict:
    """An honest one: of the files that these versions have."""
    sides = {
        name: None if version is None else {"test_error": numbers[name], "sha256": version.files[0].sha256}
        for name, version in (("challenger", own), ("champion", rival))
    }
    return {**sides, "rows_sha256": ROWS}


def gated(registry: Registry, own: Version, rival: Version | None, *, good_before: int = 0, **numbers: float):
    number = rival.number if rival else None
    return success._gated(registry, own, number, WISH, evaluation(own, rival, **numbers), good_before)


def test_the_history_says_what_was_measured(registry: Registry, tmp_path: Path) -> None:
    first, second, third = (add(registry, tmp_path, error) for error in (0.5, 0.6, 0.4))
    assert gated(registry, first, None, challenger=0.5).event == "promoted"
    assert gated(registry, second, first, challenger=math.nan, champion=0.5).event == "refused"
    assert gated(registry, third, first, challenger=0.4, champion=0.5).event == "promoted"
    log = Registry(registry.store).history("tiny")
    assert [entry.action for entry in log.entries] == [Action.PROMOTED, Action.REFUSED, Action.PROMOTED]
    refused, promoted = (entry.details[facts.DETAILS] for entry in log.entries[1:])
    assert math.isnan(refused["evaluation"]["challenger"]["test_error"])
    assert (promoted["compared_with"], promoted["good"]) == (1, True)
    assert promoted["evaluation"]["champion"]["test_error"] == 0.5
    assert promoted["evaluation"]["rows_sha256"] == ROWS


def test_one_that_is_promoted_between_the_verdict_and_the_promotion(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (add(registry, tmp_path, error) for error in (0.5, 0.6, 0.4))
    registry.promote("tiny", 1)
    honest = gate.judge

    def judge(*arguments, **more):
        verdict = honest(*arguments, **more)
        Registry(registry.store).promote("tiny", 2)
        return verdict

    monkeypatch.setattr(gate, "judge", judge)
    kept = gated(registry, third, first, challenger=0.4, champion=0.5)
    assert kept.event == "refused"
    assert "it was compared with tiny@1, and the champion is tiny@2, promoted by" in kept.told
    log = registry.history("tiny")
    assert (log.champion, log.stage(third.number)) == (second.number, Stage.CHALLENGER)
    assert facts.verdict_of(log, third.number).details[facts.DETAILS]["good"] is False


def test_a_champion_that_is_gone_by_now_is_not_read(registry: Registry, tmp_path: Path) -> None:
    first, _, third = (add(registry, tmp_path, error) for error in (0.5, 0.6, 0.4))
    registry.promote("tiny", 1)
    registry.promote("tiny", 2)
    kept_object = tmp_path / "weights" / "objects" / first.files[0].sha256
    kept_object.unlink()
    kept = gated(registry, third, first, challenger=0.4, champion=0.5)
    assert "compared with tiny@1, and the champion is tiny@2 by now" in kept.told
    none_was_sent = success._gated(registry, third, None, WISH, evaluation(third, None, challenger=0.4), 0)
    assert "compared with no champion, and the champion is tiny@2" in none_was_sent.told


def test_good_ones_in_a_row_are_of_this_schedule_and_champion(desk: Desk, registry: Registry, tmp_path: Path) -> None:
    desk.add()
    versions = [add(registry, tmp_path, error) for error in (0.5, 0.4, 0.3, 0.6, 0.2)]
    registry.promote("tiny", 1)

    def retrained(version: Version | None, status: TickStatus, *, good: bool = True) -> int:
        if version is not None:
            details = facts.details({}, champion=registry.history("tiny").champion, good=good)
            registry.note("tiny", version.number, Action.REFUSED, why="-", details=details)
        tick = Tick(schedule="weekly", cause="now", due_at=desk.now, considered_at=BEGIN)
        owner = desk.book.ticks.take(tick, worker.this_process(), desk.now)
        desk.now = desk.now.replace(minute=desk.now.minute + 1)
        assert owner is not None
        desk.book.ticks.end(owner, status, "", desk.now, version=str(version) if version else "")
        return facts.good_in_a_row(desk.book, "weekly", registry.history("tiny"))

    assert retrained(versions[1], TickStatus.SUCCEEDED) == 1
    assert retrained(None, TickStatus.CANCELLED) == 1
    assert retrained(versions[2], TickStatus.SUCCEEDED) == 2
    assert facts.good_in_a_row(desk.book, "another", registry.history("tiny")) == 0
    assert retrained(None, TickStatus.FAILED) == 0
    assert retrained(versions[4], TickStatus.SUCCEEDED) == 1
    registry.promote("tiny", 2)
    assert facts.good_in_a_row(desk.book, "weekly", registry.history("tiny")) == 0
    assert retrained(versions[3], TickStatus.SUCCEEDED, good=False) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "of result.json"), ('{"a": 1}', {"a": 1}), ("{", {}), ("[" * 100_000, {}), ("9" * 10_000, {})],
)
def test_an_evaluation_is_a_file_or_in_the_result(
    registry: Registry, tmp_path: Path, text: str | None, expected: object
) -> None:
    version = add(registry, tmp_path, 0.5, evaluated="of result.json")
    if text is not None:
        (tmp_path / facts.EVALUATION_NAME).write_text(text)
    assert facts.evaluation(tmp_path, version) == expected
