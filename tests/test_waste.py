"""What interruptions cost in machine time, from a run's events."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import PhaseTime, RunId, Segment
from launcher.ledger import EventRecord
from launcher.phases import ORDER, durations
from launcher.waste import wasted

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def event(second: float, kind: str, **data) -> EventRecord:
    return EventRecord(event_id=1, run_id=RunId("r"), at=at(second), kind=kind, data=data)


def phase(second: float, name: str) -> EventRecord:
    return event(second, "phase", name=name, at=at(second).isoformat())


def saved(second: float) -> EventRecord:
    # The event is written when the checkpoint is home; what counts is when it was looked at over there.
    return event(second + 5, "checkpoint.saved", at=at(second).timestamp(), generation=1)


def machine(number: int, began_s: float, ended_s: float | None = None, ended_by: str = "") -> Segment:
    return Segment(
        number=number,
        instance_id=f"i-{number}",
        instance_type="g4dn.xlarge",
        region="us-east-1",
        zone="us-east-1a",
        market="spot",
        price_usd_per_hour=0.2,
        began_at=at(began_s),
        ended_at=None if ended_s is None else at(ended_s),
        ended_by=ended_by,
    )


def as_table(times: tuple[PhaseTime, ...]) -> dict[str, float]:
    return {each.name: round(each.seconds, 3) for each in times}


FIRST = [
    phase(0, "provision"),
    phase(2, "boot"),
    phase(30, "connect"),
    phase(31, "sync"),
    phase(35, "start"),
    event(36, "job.started"),
    phase(36, "run"),
]


def test_a_run_on_one_machine_wastes_nothing_even_when_it_was_resumed():
    resumed = [phase(50, "boot"), phase(51, "connect"), phase(55, "run"), phase(80, "fetch"), phase(90, "end")]
    assert wasted([*FIRST, saved(60), *resumed], [machine(1, 2, 90)]) == ()


def test_a_sudden_death_wastes_the_training_since_the_last_checkpoint_and_the_next_machines_setting_up():
    events = [
        *FIRST,
        saved(100),
        saved(200),
        event(260, "interrupted", segment=1, why="gone"),
        phase(260, "provision"),
        phase(263, "boot"),
        phase(300, "connect"),
        phase(301, "sync"),
        phase(305, "start"),
        event(306, "job.started", segment=2),
        phase(306, "run"),
        phase(900, "fetch"),
        phase(905, "terminate"),
        phase(910, "end"),
    ]
    found = wasted(events, [machine(1, 2, 280, "gone"), machine(2, 263, 910)])
    assert as_table(found) == {"provision": 3, "boot": 37, "connect": 1, "sync": 4, "start": 1, "training": 60}
    assert [each.name for each in found][-1] == "training"
    # The run's own phases still add up to the whole of it.
    assert sum(each.seconds for each in durations(events)) == 910


def test_a_machine_made_ready_beside_the_run_counts_without_stretching_the_run():
    events = [
        *FIRST,
        event(110, "successor", segment=2, phase="provision", seconds=2.5),
        event(150, "successor", segment=2, phase="boot", seconds=40.0),
        event(155, "successor", segment=2, phase="sync", seconds=5.0),
        event(158, "job.stopped"),
        saved(160),
        event(166, "interrupted", segment=1, why="taken back"),
        phase(166, "provision"),
        phase(167, "boot"),
        phase(168, "start"),
        event(170, "job.started", segment=2),
        phase(170, "run"),
        phase(400, "end"),
    ]
    found = wasted(events, [machine(1, 2, 200, "taken back"), machine(2, 112, 400)])
    assert as_table(found) == {"provision": 3.5, "boot": 41.0, "sync": 5.0, "start": 2.0}
    assert sum(each.seconds for each in durations(events)) == 400


def test_without_a_checkpoint_all_that_was_trained_there_is_lost_stopped_or_not():
    assert as_table(wasted([*FIRST, event(236, "interrupted", segment=1)], [machine(1, 2)])) == {"training": 200}
    stopped = [*FIRST, event(226, "job.stopped"), event(236, "interrupted", segment=1)]
    assert as_table(wasted(stopped, [machine(1, 2)])) == {"training": 190}


def test_of_a_job_that_stopped_in_time_and_whose_last_checkpoint_did_not_come_home_that_much_is_lost():
    events = [*FIRST, saved(200), event(226, "job.stopped"), event(236, "interrupted", segment=1)]
    assert as_table(wasted(events, [machine(1, 2)])) == {"training": 26}


def test_a_machine_that_dies_before_its_own_first_checkpoint_loses_what_it_trained_alone():
    events = [
        *FIRST,
        event(89, "job.stopped"),
        saved(90),
        event(100, "interrupted", segment=1),
        event(150, "job.started", segment=2),
        event(190, "interrupted", segment=2),
    ]
    assert as_table(wasted(events, [machine(1, 2, 120, "spot"), machine(2, 90, 200, "gone")])) == {"training": 40}


def test_a_machine_that_died_and_was_not_replaced_lost_what_came_after_its_last_checkpoint():
    assert as_table(wasted([*FIRST, saved(100)], [machine(1, 2, 130, "Server.SpotInstanceTermination")])) == {
        "training": 30
    }
    assert wasted([*FIRST, saved(100)], [machine(1, 2, 130)]) == ()


def test_a_machine_that_never_ran_the_job_lost_no_training():
    events = [phase(0, "provision"), phase(2, "boot"), event(40, "interrupted", segment=1), phase(40, "provision")]
    assert as_table(wasted([*events, phase(45, "run")], [machine(1, 2, 50, "gone")])) == {"provision": 5}


KINDS = st.sampled_from(["interrupted", "job.started", "job.stopped", "checkpoint.saved", "successor", *ORDER])


@given(st.lists(st.tuples(st.floats(0, 50), KINDS, st.integers(1, 3)), max_size=30))
def test_whatever_the_order_no_time_is_negative_nor_more_than_there_was(steps):
    second, beside, events = 0.0, 0.0, []
    for lasted, kind, number in steps:
        second += lasted
        if kind in ORDER:
            events.append(phase(second, kind))
        elif kind == "successor":
            beside += lasted
            events.append(event(second, kind, segment=number, phase="boot", seconds=lasted))
        elif kind == "checkpoint.saved":
            events.append(saved(second))
        else:
            events.append(event(second, kind, segment=number))
    found = wasted(events, [machine(number, 0) for number in (1, 2, 3)])
    setup = [each for each in found if each.name != "training"]
    assert all(each.seconds >= 0 for each in found)
    assert sum(each.seconds for each in setup) == pytest.approx(beside, abs=second + 1e-3)
    assert sum(each.seconds for each in found) <= beside + 4 * second + 1e-3
