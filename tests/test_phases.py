from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import RunId
from launcher.ledger import EventRecord
from launcher.phases import ORDER, durations

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _events(marks: list[tuple[str, float]]) -> list[EventRecord]:
    return [
        EventRecord(
            event_id=index,
            run_id=RunId("r"),
            at=BEGIN,
            kind="phase",
            data={"name": name, "at": (BEGIN + timedelta(seconds=second)).isoformat()},
        )
        for index, (name, second) in enumerate(marks)
    ]


def test_each_phase_lasts_until_the_next_one_begins():
    found = durations(_events([("plan", 0), ("provision", 1.5), ("boot", 2), ("end", 5)]))
    assert [(phase.name, phase.seconds) for phase in found] == [("plan", 1.5), ("provision", 0.5), ("boot", 3.0)]


def test_a_resumed_run_adds_up_its_attempts_in_the_order_of_a_run():
    found = durations(_events([("connect", 0), ("run", 1), ("connect", 4), ("run", 6), ("end", 7)]))
    assert [(phase.name, phase.seconds) for phase in found] == [("connect", 3.0), ("run", 4.0)]


@given(st.lists(st.tuples(st.sampled_from(ORDER), st.floats(0.001, 100)), min_size=1, max_size=30))
def test_the_phases_add_up_to_the_whole(steps: list[tuple[str, float]]):
    marks, second = [], 0.0
    for name, length in steps:
        marks.append((name, second))
        second += length
    total = sum(phase.seconds for phase in durations(_events([*marks, ("end", second)])))
    assert abs(total - second) < 1e-3


def test_phases_are_written_before_they_are_shown(tmp_path: Path):
    from launcher.domain import RunStatus
    from launcher.ledger import Ledger, RunRecord
    from launcher.phases import Phases

    shown: list[tuple[str, list[str]]] = []

    class Watcher:
        def phase(self, name: str, detail: str = "") -> None:
            del detail
            shown.append((name, [event.data["name"] for event in book.events("r")]))

    with Ledger.open(tmp_path / "ledger.db") as book:
        book.create(
            RunRecord(
                run_id=RunId("r"),
                name="r",
                status=RunStatus.PLANNED,
                created_at=BEGIN,
                updated_at=BEGIN,
                account="{}",
                region="us-east-1",
                spec="{}",
                results_dir="",
                token="t",
            )
        )
        Phases(book, RunId("r"), Watcher()).enter("provision")
    assert shown == [("provision", ["provision"])]
