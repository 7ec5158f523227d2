from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import TransferProgress
from launcher.errors import TransferError
from launcher.sync import remote_agent
from launcher.sync.layout import RemoteLayout


@dataclass(frozen=True)
class Item:
    name: str
    url: str
    size_bytes: int


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """A real HTTP server over a folder; gives (folder, address, paths asked for)."""
    folder = tmp_path / "store"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_machine_fetches_for_itself(connection: Any, layout: RemoteLayout, store: Any) -> None:
    folder, address, asked = store
    items = []
    for number in range(20):
        (folder / str(number)).write_bytes(b"%d" % number * 1000)
        size = (folder / str(number)).stat().st_size
        items.append(Item(f"part {number % 3}/{number}", f"{address}/{number}?signature=secret", size))
    seen: list[TransferProgress] = []
    remote_agent.fetch_urls(connection, layout, items, seen.append)
    for number in range(20):
        there = connection.home / layout.data / f"part {number % 3}/{number}"
        assert there.read_bytes() == b"%d" % number * 1000
    assert (seen[-1].done_files, seen[-1].done_bytes) == (20, seen[-1].total_bytes)
    before = len(asked)
    remote_agent.fetch_urls(connection, layout, items)
    assert len(asked) == before


@pytest.mark.parametrize(("announced", "told"), [(5, "more came"), (500, "10 came")])
def test_another_size_than_announced_is_refused(
    connection: Any, layout: RemoteLayout, store: Any, announced: int, told: str
) -> None:
    folder, address, _ = store
    (folder / "x").write_bytes(b"0123456789")
    with pytest.raises(TransferError, match=told):
        remote_agent.fetch_urls(connection, layout, [Item("x", f"{address}/x", announced)])
    assert not list((connection.home / layout.data).iterdir())


def test_a_refusal_of_the_store_is_told_without_the_credential(
    connection: Any, layout: RemoteLayout, store: Any
) -> None:
    item = Item("gone.csv", f"{store[1]}/gone.csv?signature=secret", 1)
    with pytest.raises(TransferError, match=r"gone\.csv: the store answered 404") as caught:
        remote_agent.fetch_urls(connection, layout, [item])
    assert "secret" not in str(caught.value)


def test_a_name_that_leads_out_is_refused_there_too(connection: Any, layout: RemoteLayout, store: Any) -> None:
    (store[0] / "x").write_bytes(b"x")
    with pytest.raises(TransferError, match="not a relative path"):
        remote_agent.fetch_urls(connection, layout, [Item("../evil", f"{store[1]}/x", 1)])
    assert not (connection.home / layout.home / "evil").exists()


def test_the_free_disk_is_told(connection: Any, layout: RemoteLayout) -> None:
    assert remote_agent.free_bytes(connection, layout) > 0
