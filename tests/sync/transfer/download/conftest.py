"""What the tests of downloads have: the folder there and the folder here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.sync.layout import RemoteLayout


@pytest.fixture
def there(connection: Any, layout: RemoteLayout) -> Path:
    folder = connection.home / layout.output
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "digits-7f3a"
