"""A far side that says what it likes reaches neither the terminal's controls nor past our own errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.domain import Interruption, JobReport, JobUsage
from launcher.errors import CommandFailed, TransferError
from launcher.ports import Completed
from launcher.sync import events, remote_agent
from launcher.sync.down import download
from launcher.sync.local import ignore, tree
from launcher.sync.up import upload
from launcher.sync.up.difference import entries_of
from launcher.sync.usage import time_lines
from launcher.sync.wire import frames, session
from launcher.sync.wire.frames import MAGIC

ESCAPE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e"
USAGE = {
    "user_s": 1,
    "system_s": 0.5,
    "elapsed_s": 2.0,
    "max_rss_kib": 1,
    "major_faults": 2,
    "minor_faults": 3,
    "inputs": 4,
    "outputs": 5,
}
DONE = {"state": "done", "exit_status": 3, "killed_by_memory": False, "usage": USAGE, "log_bytes": 7}
END: dict[str, Any] = {
    "kind": "spot",
    "action": "terminate",
    "noticed_at": 5.0,
    "ends_at": 120.0,
    "ends_in_s": 115.5,
}


class Far:
    """`ports.Lines`, a connection and its only stream: an agent that says what it likes, or never answers."""

    def __init__(self, said: bytes, done: Completed) -> None:
        self.said, self.done = said, done
        self.idle: list[Any] = []
        self.control = self

    def bulk(self, _number: int) -> Far:
        return self

    def fresh(self, _timeout_s: float) -> Far:
        return self

    def open(self, _command: str) -> Far:
        return self

    def run(self, _command: str, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        return self.done

    def read(self, size: int) -> bytes:
        part, self.said = self.said[:size], self.said[size:]
        return part

    def write(self, data: bytes) -> None:
        pass

    def close_input(self) -> None:
        pass

    def finish(self) -> Completed:
        return self.done

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


def failed(stderr: str) -> Far:
    return Far(b"", Completed(status=1, stdout=b"", stderr=stderr.encode()))


def answering(value: object) -> Far:
    payload = json.dumps(value).encode()
    said = MAGIC + frames.HEADER.pack(b"J", len(payload)) + payload
    return Far(said, Completed(status=0, stdout=b"", stderr=b""))


def test_an_error_s_message_is_told_without_its_escapes() -> None:
    payload = json.dumps({"error": {"kind": "disk", "message": "no room " + ESCAPE + "x" * 10**6}}).encode()
    with pytest.raises(TransferError, match="no room") as caught:
        frames.parse(b"J", payload)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("call", [session.open_session, session.install_agent])
def test_the_shell_s_complaint_is_told_without_its_escapes(call: Any) -> None:
    with pytest.raises(CommandFailed, match="the reason") as caught:
        call(failed("x" * 10**6 + ESCAPE + "the reason"))
    assert caught.value.message.isprintable()
    assert caught.value.stderr.isprintable()
    assert len(caught.value.message) < 1000


def test_why_a_file_was_left_out_is_told_without_its_escapes(tmp_path: Any) -> None:
    notes: list[str] = []
    far = answering({"entries": [], "skipped": [["a" + ESCAPE, "is odd " + ESCAPE]]})
    download.pull(far, "r/output", tmp_path, lambda _: None, "results", note=notes.append)
    assert len(notes) == 1
    assert "is odd" in notes[0]
    assert notes[0].isprintable()


@pytest.mark.parametrize("size_bytes", [float("inf"), float("nan"), "x" * 10**5 + ESCAPE])
def test_an_odd_size_is_told_in_short(size_bytes: object) -> None:
    with pytest.raises(TransferError) as caught:
        entries_of([["a", "f", size_bytes, 0, 0o644, "", "0" * 64]])
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"free_bytes": "much"},
        {"free_bytes": True},
    ],
)
def test_an_upload_s_odd_answer_is_refused(tmp_path: Any, state: object) -> None:
    (tmp_path / "a").write_bytes(b"x")
    scan = tree.scan(tmp_path, ignore=ignore.nothing())
    with pytest.raises(TransferError):
        upload.push(answering(state), scan, "r/code", lambda _: None, "code")


def test_an_answer_nested_without_end_is_refused() -> None:
    with pytest.raises(TransferError, match="not JSON"):
        frames.parse(b"J", b'{"a":' + b"[" * 10**6)


def test_a_report_is_taken_as_it_is() -> None:
    usage = JobUsage(
        user_s=1.0,
        system_s=0.5,
        elapsed_s=2.0,
        max_rss_kib=1,
        major_faults=2,
        minor_faults=3,
        inputs=4,
        outputs=5,
    )
    expected = JobReport(state="done", exit_status=3, usage=usage, log_bytes=7)
    assert remote_agent.to_report({**DONE, "supervisor": 1}) == expected
    assert remote_agent.to_report({"state": "absent"}) == JobReport(state="absent")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "\x1b[2J"},
        {"state": 1},
        {"state": ["done"]},
        {"exit_status": -1},
        {"exit_status": 256},
        {"exit_status": "0"},
        {"exit_status": 0.0},
        {"exit_status": True},
        {"exit_status": float("inf")},
        {"killed_by_memory": "no"},
        {"killed_by_memory": 1},
        {"log_bytes": -1},
        {"log_bytes": 1 << 63},
        {"log_bytes": float("inf")},
        {"log_bytes": "7"},
        {"ended_by": "somebody"},
        {"ended_by": None},
        {"ended_by": ["signal"]},
        {"interruption": []},
        {"interruption": {}},
        {"interruption": "soon"},
        *({"interruption": {**END, name: None}} for name in END),
        {"interruption": {**END, "kind": "\x1b[2J"}},
        {"interruption": {**END, "action": "explode"}},
        *({"interruption": {**END, "ends_in_s": odd}} for odd in (float("nan"), float("inf"), -1, "1", True, 10**400)),
        {"usage": []},
        {"usage": {}},
        {"usage": {"user_s": 1}},
        *({"usage": {**USAGE, "elapsed_s": odd}} for odd in (float("inf"), float("nan"), -1, "1", True, 10**400)),
        *({"usage": {**USAGE, "inputs": odd}} for odd in (float("inf"), 1.5, -1, "1", False, 10**400, None)),
    ],
)
def test_a_report_of_other_types_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TransferError) as caught:
        remote_agent.to_report({**DONE, **changes})
    assert caught.value.message.isprintable()


def test_an_announced_end_is_taken_as_it_is() -> None:
    report = remote_agent.to_report({**DONE, "ended_by": "interruption", "interruption": {**END, "more": 1}})
    assert report.ended_by == "interruption"
    assert report.interruption == Interruption(**END)
    rebalance = {"kind": "rebalance", "action": "", "noticed_at": 5.0, "ends_at": None, "ends_in_s": None}
    assert remote_agent.to_report({**DONE, "interruption": rebalance}).interruption == Interruption(**rebalance)


@pytest.mark.parametrize(
    "said", [{"checkpoint": None}, {"checkpoint": "A"}, {"checkpoint": "0" * 65}, {"interruption": 1}]
)
def test_events_that_are_none_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(TransferError):
        events.event_of(said)


@pytest.mark.parametrize("state", [None, [], "done", 5, {}])
def test_a_report_that_is_none_is_refused(state: object) -> None:
    with pytest.raises(TransferError):
        remote_agent.to_report(state)


FIGURES = st.one_of(st.integers(), st.floats(), st.sampled_from([5e-324, 1e-300, 1e12, 1e308]))


@given(st.fixed_dictionaries(dict.fromkeys(USAGE, FIGURES)))
def test_any_usage_that_is_taken_can_be_printed(usage: dict[str, float]) -> None:
    try:
        report = remote_agent.to_report({**DONE, "usage": usage})
    except TransferError:
        return
    assert report.usage is not None
    assert len(time_lines(report.usage)) == 2


@given(FIGURES, FIGURES, FIGURES)
def test_any_times_that_are_taken_can_be_printed(user_s: float, system_s: float, elapsed_s: float) -> None:
    times = {"user_s": abs(user_s), "system_s": abs(system_s), "elapsed_s": abs(elapsed_s)}
    try:
        report = remote_agent.to_report({**DONE, "usage": {**USAGE, **times}})
    except TransferError:
        return
    assert report.usage is not None
    assert len(time_lines(report.usage)) == 2


@pytest.mark.parametrize("figure", [None, "1", -1, 1.5, float("inf"), ESCAPE])
def test_free_bytes_that_are_none_are_refused(figure: object) -> None:
    with pytest.raises(TransferError) as caught:
        remote_agent.free_bytes(answering({"free_bytes": figure}), remote_agent.RemoteLayout("r"))
    assert caught.value.message.isprintable()
