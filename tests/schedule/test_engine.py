"""What a pass takes: on time, late, while a run goes on, with the clock put anywhere, and after a crash."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import process
from launcher.domain import RunId, RunStatus
from launcher.errors import SpecError
from launcher.ledger import Ledger, Owner, RunRecord, TickStatus
from launcher.schedule import engine, watch, worker
from tests.schedule.conftest import BEGIN, Desk

MINUTE = timedelta(minutes=1)


def test_a_tick_is_taken_once(desk: Desk) -> None:
    desk.add()
    assert desk.run_due() == ()
    assert [tick.status for tick in desk.run_due(BEGIN + MINUTE)] == [TickStatus.TAKEN]
    assert desk.run_due() == ()
    assert desk.run_due(BEGIN + MINUTE + timedelta(seconds=29)) == ()
    assert len(desk.started) == 1


def test_a_tick_during_a_run_is_skipped_with_its_reason(desk: Desk) -> None:
    desk.add()
    desk.run_due(BEGIN + MINUTE)
    desk.book.ticks.launched(desk.ticks()[0].tick_id, "tiny-1")
    desk.run_due(BEGIN + 2 * MINUTE)
    desk.finish()
    desk.run_due(BEGIN + 3 * MINUTE)
    assert desk.told() == [("12:01", "succeeded"), ("12:02", "skipped"), ("12:03", "taken")]
    assert desk.ticks()[1].reason == "still running tiny-1"


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("run-once", [("16:00", "taken")]),
        ("skip", [("16:00", "missed")]),
    ],
)
def test_missed_ticks(desk: Desk, missed: str, expected: list[tuple[str, str]]) -> None:
    desk.add(cron="0 * * * *", missed=missed)
    desk.run_due(BEGIN + timedelta(hours=4, minutes=20))
    assert desk.told() == expected
    assert desk.ticks()[0].reason.startswith("4 fire times missed up to 2026-11-21 16:00")
    assert desk.run_due() == ()
    desk.finish() if missed == "run-once" else None
    desk.run_due(BEGIN + timedelta(hours=5))
    assert desk.told()[-1] == ("17:00", "taken")


@pytest.mark.parametrize(("missed", "before"), [("run-once", []), ("skip", [("15:00", "missed")])])
def test_ticks_missed_before_one_that_is_on_time(desk: Desk, missed: str, before: list[tuple[str, str]]) -> None:
    desk.add(cron="0 * * * *", missed=missed)
    desk.run_due(BEGIN + timedelta(hours=4))
    assert desk.told() == [*before, ("16:00", "taken")]
    assert "3 fire times missed up to 2026-11-21 15:00" in desk.ticks()[0].reason


def test_what_a_pause_covers_was_not_missed(desk: Desk) -> None:
    desk.add(cron="0 * * * *")
    desk.book.schedules.pause("weekly", paused=True, now=desk.now)
    assert desk.run_due(BEGIN + timedelta(hours=3)) == ()
    desk.book.schedules.pause("weekly", paused=False, now=desk.now)
    assert desk.run_due() == ()
    desk.run_due(BEGIN + timedelta(hours=4))
    assert desk.told() == [("16:00", "taken")]


def test_a_clock_that_jumps_ahead_and_back_costs_one_run_and_stops_nothing(desk: Desk) -> None:
    desk.add(cron="0 * * * *")
    desk.run_due(BEGIN + timedelta(days=4000))
    desk.finish()
    desk.run_due(BEGIN + timedelta(minutes=10))
    for hours in (1, 2):
        desk.run_due(BEGIN + timedelta(hours=hours))
        desk.finish()
    assert desk.told()[1:] == [("13:00", "succeeded"), ("14:00", "succeeded")]
    desk.run_due(BEGIN + timedelta(hours=1))
    desk.run_due(BEGIN + timedelta(hours=2))
    assert len(desk.ticks()) == 3


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.one_of(st.tuples(st.just("wait"), st.integers(-2000, 4000)), st.tuples(st.just("finish"), st.just(0))),
        max_size=30,
    ),
    missed=st.sampled_from(["run-once", "skip"]),
)
def test_whatever_the_clock_does(steps: list[tuple[str, int]], missed: str) -> None:
    with TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as book:
        desk = Desk(book)
        desk.add(missed=missed, cron="*/7 * * * *")
        for what, seconds in steps:
            if what == "finish":
                desk.finish()
            before = {tick.tick_id for tick in desk.ticks()}
            running = bool(book.ticks.unfinished())
            for tick in desk.run_due(desk.now + timedelta(seconds=seconds)):
                assert tick.tick_id not in before
                assert tick.due_at <= desk.now
                assert tick.due_at.minute % 7 == 0
                assert not (running and tick.open)
            assert len(book.ticks.unfinished()) <= 1
        assert not [due for due, count in Counter(tick.due_at for tick in desk.ticks()).items() if count > 1]
        assert len(desk.started) == len({tick.tick_id for tick in desk.started})


@settings(max_examples=25, deadline=None)
@given(waits=st.lists(st.integers(1, 299), min_size=1, max_size=40))
def test_passes_in_time_lose_no_fire_time(waits: list[int]) -> None:
    with TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as book:
        desk = Desk(book)
        desk.add(cron="*/5 * * * *", missed="skip")
        for wait in waits:
            desk.run_due(desk.now + timedelta(seconds=wait))
            desk.finish()
        minutes = int((desk.now - BEGIN.replace(second=0)).total_seconds()) // 60
        assert [tick.due_at for tick in desk.ticks()] == [
            BEGIN.replace(second=0) + step * MINUTE for step in range(5, minutes + 1, 5)
        ]
        assert {tick.status for tick in desk.ticks()} <= {TickStatus.SUCCEEDED}


def test_a_launcher_that_cannot_be_started_is_told(desk: Desk) -> None:
    desk.add()
    desk.fault = SpecError("the folder is gone")
    desk.run_due(BEGIN + MINUTE)
    assert desk.told() == [("12:01", "failed")]
    assert "the folder is gone" in desk.ticks()[0].reason


def test_a_tick_whose_process_died_without_a_run_is_told_and_the_next_goes_ahead(desk: Desk) -> None:
    desk.add()
    desk.run_due(BEGIN + MINUTE)
    given = desk.ticks()[0]
    desk.book.ticks.hand(given, dead())
    desk.run_due(BEGIN + 2 * MINUTE)
    assert desk.told() == [("12:01", "failed"), ("12:02", "taken")]
    assert desk.ticks()[0].reason == "the process died before it had made a run"
    assert not desk.book.ticks.claim(given.tick_id, given.token, Owner(pid=1, started="1"))


def test_of_two_claims_one_is_heard(desk: Desk) -> None:
    desk.add()
    desk.run_due(BEGIN + MINUTE)
    tick = desk.ticks()[0]
    owners = [Owner(pid=pid, started="then") for pid in (10, 11)]
    assert not desk.book.ticks.claim(tick.tick_id, "another", owners[1])
    assert [desk.book.ticks.claim(tick.tick_id, tick.token, owner) for owner in owners] == [True, False]
    assert not desk.book.ticks.claim(tick.tick_id, "", owners[1])
    assert not desk.book.ticks.end(tick, TickStatus.FAILED, "by one whose it is no more", desk.now)
    desk.book.ticks.hand(tick, owners[1])
    assert desk.ticks()[0].owner == owners[0]


def test_a_schedule_that_cannot_be_looked_at_holds_up_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add(name="a", cron="* * * * *", zone="Nowhere/Else")
    desk.add(name="b")
    desk.run_due(BEGIN + MINUTE)
    assert desk.told("b") == [("12:01", "taken")]
    assert desk.troubles == ["a: --tz 'Nowhere/Else': there is no such time zone"]


def test_one_that_is_being_run_is_not_removed(desk: Desk) -> None:
    desk.add()
    desk.run_due(BEGIN + MINUTE)
    with pytest.raises(SpecError, match="being run"):
        desk.book.schedules.remove("weekly")
    desk.finish()
    desk.book.schedules.remove("weekly")
    with pytest.raises(SpecError, match="no schedule"):
        desk.book.schedules.get("weekly")
    desk.add()
    assert desk.ticks() == []


def test_a_name_is_taken_once(desk: Desk) -> None:
    desk.add()
    with pytest.raises(SpecError, match="already"):
        desk.add()
    with pytest.raises(SpecError, match="no schedule 'weekyl'") as caught:
        desk.book.schedules.get("weekyl")
    assert "weekly" in caught.value.hint


def test_run_now_beside_the_clock(desk: Desk) -> None:
    schedule = desk.add(cron="0 0 1 1 *")
    first = engine.run_now(desk.book, schedule, BEGIN + MINUTE, desk.hands)
    second = engine.run_now(desk.book, schedule, BEGIN + 2 * MINUTE, desk.hands)
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (TickStatus.TAKEN, TickStatus.SKIPPED)


class TestData:
    """New data, which may still be on its way."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "a").write_text("one")
        return folder

    def watch(self, desk: Desk, data: Path, **changes) -> None:
        seen = {"data_seen": watch.appearance(str(data), None), "data_sha256": watch.contents(str(data), None)}
        desk.add(**{"cron": "", "data": str(data)} | seen | changes)

    def later(self, desk: Desk, seconds: int = 15) -> list[str]:
        return [tick.cause for tick in desk.run_due(desk.now + timedelta(seconds=seconds))]

    def test_new_data_is_trained_on_once_it_is_at_rest(self, desk: Desk, data: Path) -> None:
        self.watch(desk, data)
        assert self.later(desk) == []
        (data / "b").write_text("tw")
        assert self.later(desk) == []
        (data / "b").write_text("two")
        assert self.later(desk) == []
        assert self.later(desk) == ["data"]
        desk.finish()
        assert self.later(desk) == self.later(desk) == []
        assert self.later(desk, 3600) == []

    def test_a_touched_file_is_no_new_data(self, desk: Desk, data: Path) -> None:
        self.watch(desk, data)
        (data / "a").touch()
        assert [self.later(desk) for _ in range(4)] == [[]] * 4
        assert desk.book.schedules.get("weekly").data_changing == ""

    def test_data_that_comes_during_a_run_waits_for_its_end(self, desk: Desk, data: Path) -> None:
        self.watch(desk, data)
        engine.run_now(desk.book, desk.book.schedules.get("weekly"), desk.now, desk.hands)
        (data / "b").write_text("two")
        assert [self.later(desk) for _ in range(4)] == [[]] * 4
        desk.finish()
        assert self.later(desk) == ["data"]

    def test_a_tick_of_the_clock_takes_new_data_along(self, desk: Desk, data: Path) -> None:
        self.watch(desk, data, cron="* * * * *")
        (data / "b").write_text("two")
        assert self.later(desk, 10) == []
        assert self.later(desk, 21) == ["cron"]
        desk.finish()
        assert self.later(desk, 11) == self.later(desk, 11) == []

    def test_that_it_is_gone_is_told_once(self, desk: Desk, data: Path) -> None:
        self.watch(desk, data)
        (data / "a").unlink()
        data.rmdir()
        assert [self.later(desk) for _ in range(3)] == [["data"], [], []]
        tick = desk.ticks()[0]
        assert tick.status is TickStatus.FAILED
        assert "does not exist" in tick.reason
        data.mkdir()
        assert self.later(desk) == []
        (data / "a").write_text("new")
        assert [self.later(desk) for _ in range(2)] == [[], ["data"]]


class TestRunLeftBehind:
    """A process that died with a run in its hands."""

    def left(self, desk: Desk, status: RunStatus, *, launcher: Owner | None = None, told: bool = True) -> None:
        desk.add(cron="0 0 1 1 *")
        engine.run_now(desk.book, desk.book.schedules.get("weekly"), BEGIN, desk.hands)
        gone = dead()
        desk.book.ticks.claim(desk.ticks()[0].tick_id, desk.ticks()[0].token, gone)
        holder = launcher or gone
        run = RunRecord(
            run_id=RunId("tiny-1"),
            name="tiny",
            status=status,
            created_at=BEGIN,
            updated_at=BEGIN,
            account="{}",
            region="",
            spec="{}",
            results_dir="/",
            token="tiny-1",
            launcher_pid=holder.pid,
            launcher_started=holder.started,
        )
        desk.book.create(run)
        if told:
            desk.book.ticks.launched(desk.ticks()[0].tick_id, run.run_id)
        desk.started.clear()

    @pytest.mark.parametrize("told", [True, False])
    def test_it_is_gone_on_with_also_where_nobody_could_say_whose_it_is(self, desk: Desk, told: bool) -> None:
        self.left(desk, RunStatus.RUNNING, told=told)
        desk.run_due(BEGIN + MINUTE)
        assert [tick.run_id for tick in desk.started] == ["tiny-1"]
        assert desk.ticks()[0].attempts == 2

    def test_not_while_another_launcher_attends_it(self, desk: Desk) -> None:
        self.left(desk, RunStatus.RUNNING, launcher=worker.this_process())
        assert desk.run_due(BEGIN + MINUTE) == ()
        assert desk.started == []

    def test_less_and_less_often_but_at_once_when_it_is_over(self, desk: Desk) -> None:
        self.left(desk, RunStatus.RUNNING)
        tries = []
        for minute in range(200):
            if desk.run_due(BEGIN + minute * MINUTE):
                tries.append(minute)
                desk.book.ticks.hand(desk.ticks()[0], dead())
        assert tries == [0, 2, 6, 14, 30, 62, 122, 182]
        desk.book.advance("tiny-1", RunStatus.FETCHING)
        desk.book.advance("tiny-1", RunStatus.TERMINATING)
        desk.book.advance("tiny-1", RunStatus.SUCCEEDED)
        assert len(desk.run_due(BEGIN + 183 * MINUTE)) == 1


def dead() -> Owner:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        return Owner(pid=child.pid, started=process.started(child.pid))
