"""Notices, sent by apprise to a real server; what cannot be sent is told and ends nothing."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launcher.errors import SpecError
from launcher.ledger import TickStatus
from launcher.schedule import notice
from tests.schedule.conftest import BEGIN, Desk, record


@dataclass
class Hook:
    """Where notices arrive."""

    port: int = 0
    status: int = 200
    bodies: list[dict] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    pytest.importorskip("apprise")
    arrived = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(arrived.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    arrived.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield arrived
    server.shutdown()
    thread.join()
    server.server_close()


def telling(*addresses: str):
    return record(options=json.dumps({"notify": list(addresses)}))


def test_a_notice_arrives(hook: Hook) -> None:
    assert notice.tell(telling(hook.address), "promoted", "digits@3: better", "gpurun weights show digits@3") == []
    (body,) = hook.bodies
    assert body["title"] == "gpurun: weekly: promoted"
    assert body["message"] == "digits@3: better\nnext: gpurun weights show digits@3"


def test_one_that_does_not_arrive_keeps_no_other_from_it(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    hook_down = "json://me:topsecret@127.0.0.1:1/hidden"
    (trouble,) = notice.tell(telling(hook_down, hook.address), "failed", "why", "gpurun logs x")
    assert trouble == "the notice to json://**** was not sent: it was not taken"
    assert len(hook.bodies) == 1
    assert "topsecret" not in caplog.text
    hook.status = 500
    assert len(notice.tell(telling(hook.address), "failed", "why", "gpurun logs x")) == 1


def test_a_plugin_that_breaks_ends_nothing(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("topsecret")

    monkeypatch.setattr(apprise.Apprise, "notify", breaks)
    (trouble,) = notice.tell(telling(hook.address), "failed", "why", "gpurun logs x")
    assert trouble == "the notice to json://**** was not sent: RuntimeError"


def test_ticks_without_a_process_are_told(hook: Hook, desk: Desk) -> None:
    schedule = telling(hook.address)
    desk.book.schedules.add(replace(schedule, cron="0 * * * *", missed="skip"))
    ticks = desk.run_due(BEGIN.replace(hour=16, minute=20))
    assert [tick.status for tick in ticks] == [TickStatus.MISSED]
    assert notice.tell_misfortunes(desk.book.schedules.list(), ticks) == []
    assert hook.bodies[0]["title"] == "gpurun: weekly: missed"
    assert "fire times missed" in hook.bodies[0]["message"]
    taken = desk.run_due(BEGIN.replace(hour=17, minute=0))
    assert [tick.status for tick in taken] == [TickStatus.TAKEN]
    assert notice.tell_misfortunes(desk.book.schedules.list(), taken) == []
    assert len(hook.bodies) == 1


def test_no_address_asks_for_no_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    notice.check(())
    assert notice.tell(telling(), "failed", "why", "x") == []
    with pytest.raises(SpecError, match="apprise, which is not installed") as caught:
        notice.check(["json://localhost"])
    assert caught.value.hint == "pip install 'gpurun-launcher[notify]'"
    (trouble,) = notice.tell(telling("json://localhost/hidden"), "failed", "why", "x")
    assert "pip install 'gpurun-launcher[notify]'" in trouble
    assert "hidden" not in trouble


def test_addresses_that_are_none() -> None:
    pytest.importorskip("apprise")
    for address in ("foo://topsecret", "topsecret", ""):
        with pytest.raises(SpecError, match="no address that apprise knows") as caught:
            notice.check([address])
        assert "topsecret" not in caught.value.message
