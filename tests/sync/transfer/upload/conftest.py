"""What the tests of uploads have: the folder here, the folder there, and what is asked between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.sync.layout import RemoteLayout
from launcher.sync.local.memory import Memory
from launcher.sync.wire.frames import Wire


@pytest.fixture
def there(connection: Any, layout: RemoteLayout) -> Path:
    """The folder on the machine."""
    return Path(connection.home, layout.code)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The folder here."""
    root = tmp_path / "code"
    root.mkdir()
    return root


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the machine: the operations of all requests, and each parcel."""
    found: list[str] = []
    send_json, send = Wire.send_json, Wire.send

    def noted_json(wire: Wire, value: Any) -> None:
        found.append(next(value[word] if word == "op" else word for word in value))
        send_json(wire, value)

    def noted(wire: Wire, kind: bytes, *payload: bytes) -> None:
        if kind not in {b"J", b"j"}:
            found.append("parcel")
        send(wire, kind, *payload)

    monkeypatch.setattr(Wire, "send_json", noted_json)
    monkeypatch.setattr(Wire, "send", noted)
    return found
