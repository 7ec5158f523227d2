"""What is made of the metadata service's words, and how often it is asked for them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.agent import notice
from launcher.agent.clock import now_s

from .imds import ACTION, Metadata


class Enough(Exception):
    """The test has seen it."""


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    found = Metadata()
    server = found.serve()
    yield found
    server.shutdown()
    server.server_close()


def left_s(found: Any) -> float:
    return float(found["ends_at_s"]) - now_s()


@pytest.mark.parametrize("ahead_s", [-300.0, 0.0, 300.0])
def test_the_time_left_is_by_the_services_clock(metadata: Metadata, ahead_s: float) -> None:
    metadata.ahead_s = ahead_s
    metadata.interrupt(90.0, "hibernate")
    found = notice.Service(metadata.address).look()
    assert found
    assert (found["kind"], found["action"]) == ("spot", "hibernate")
    assert 87.0 < left_s(found) <= 90.0


@pytest.mark.parametrize(("ahead_s", "least", "most"), [(-300.0, 0.0, 0.0), (0.0, 88.0, 90.0), (300.0, 119.0, 120.0)])
def test_without_a_date_no_clock_is_believed_beyond_two_minutes(
    metadata: Metadata, ahead_s: float, least: float, most: float
) -> None:
    metadata.ahead_s, metadata.dated = ahead_s, False
    metadata.interrupt(90.0)
    found = notice.Service(metadata.address).look()
    assert found
    assert least - 0.1 <= left_s(found) <= most


def test_the_notice_goes_before_the_recommendation(metadata: Metadata) -> None:
    service = notice.Service(metadata.address)
    assert service.look() is None
    metadata.rebalance()
    assert service.look() == {"kind": "rebalance", "action": "", "ends_at": None, "ends_at_s": None}
    metadata.interrupt(120.0)
    found = service.look()
    assert found
    assert found["kind"] == "spot"
    metadata.pages[ACTION] = "[" * 4000
    found = service.look()
    assert found
    assert found["kind"] == "rebalance"


def test_an_answer_without_end_is_not_read(metadata: Metadata) -> None:
    metadata.pages[ACTION] = "x" * 10_000
    with pytest.raises(ValueError, match="too long"):
        notice.Service(metadata.address).look()


WORDS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=30) | st.sampled_from(notice.ACTIONS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["action", "time", "noticeTime", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(st.binary(max_size=80) | WORDS.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_said_is_a_notice_or_refused(body: bytes) -> None:
    for read in (lambda: notice.notice(body, 0.0), lambda: notice.recommendation(body)):
        try:
            found = read()
        except notice.NONSENSE:
            continue
        said = json.loads(body)
        assert notice.MOMENT.fullmatch(said["time"] if found["kind"] == "spot" else said["noticeTime"])


@pytest.mark.parametrize(
    "text", ["2026-11-21T12:00:00", "2026-13-21T12:00:00Z", "2026-11-21T12:00:00Z\n", "٢٠٢٦-11-21T12:00:00Z", 1.5, None]
)
def test_a_moment_is_written_in_one_way(text: object) -> None:
    with pytest.raises(ValueError, match=r".*"):
        notice.moment_of(text)
    assert notice.moment_of("2026-11-21T12:00:00Z") == 1795262400.0


def test_where_nobody_answers_it_asks_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pauses(monkeypatch, ["dead"] * 6) == [10, 20, 40, 50, 50, 50]


def test_one_that_has_answered_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pauses(monkeypatch, ["dead", "dead", "", "dead", "dead", "dead", "", ""]) == [10, 20, 5, 10, 20, 20, 5, 5]


def test_each_notice_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    pauses(monkeypatch, ["", "first", "first", "dead", "first", "second", "second"], told)
    assert [each["ends_at"] for each in told] == ["first", "second"]


def pauses(monkeypatch: pytest.MonkeyPatch, script: list[str], told: list[Any] | None = None) -> list[int]:
    """How long it waits after each answer; no time passes."""
    answers, waited = iter(script), []

    class Scripted:
        def look(self) -> Any:
            said = next(answers)
            if said == "dead":
                raise ConnectionRefusedError
            return {"kind": "spot", "action": "stop", "ends_at": said, "ends_at_s": now_s()} if said else None

    def wait(pause_s: float) -> None:
        waited.append(pause_s)
        if len(waited) == len(script):
            raise Enough

    monkeypatch.setattr(time, "sleep", wait)
    monkeypatch.setattr(notice.random, "uniform", lambda low, high: high)
    with pytest.raises(Enough):
        notice.keep_asking(Scripted(), [].append if told is None else told.append)  # type: ignore[arg-type]
    return [round(pause / 1.2) for pause in waited]


def test_an_address_that_is_none_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("", "not a url", "https://169.254.169.254", "http://", "http://[::1", "http://h:x"):
        with pytest.raises(ValueError, match=r".*"):
            notice.Service(address)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "nonsense")
    notice.watch(lambda _: None)
