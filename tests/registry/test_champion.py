"""The loader: cheap to ask, whole to read, whatever is promoted meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from launcher.errors import WeightsError
from launcher.registry import prune
from launcher.registry.champion import Champion
from launcher.registry.registry import Registry
from tests.registry import crew
from tests.registry.conftest import NAME


def test_it_reads_the_champion_and_notices_another(store, registry, add, sandbox_none):
    for value in (1, 2):
        add(registry, value, metrics={"test_error": value / 10})
    registry.promote(NAME, 1)
    champion = Champion(NAME, store.uri, account=sandbox_none.account)
    assert champion.changed()
    first = champion.read()
    assert (first.number, first.metrics["test_error"], champion.changed()) == (1, 0.1, False)
    registry.promote(NAME, 2)
    assert champion.changed()
    assert (champion.read().arrays["w"] == 2).all()
    assert not champion.changed()
    registry.rollback(NAME)
    assert champion.changed()
    assert champion.read().number == 1


def test_a_challenger_changes_nothing(local, add):
    add(local, 1)
    local.promote(NAME, 1)
    champion = Champion(NAME, local.store.uri)
    champion.read()
    add(local, 2)
    assert not champion.changed()


def test_it_waits_for_nothing_that_a_local_store_does_not_need(local, add, tmp_path):
    add(local, 1)
    local.promote(NAME, 1)
    code = (
        "import sys; from launcher.registry.champion import Champion\n"
        f"champion = Champion('digits', {local.store.uri!r}); champion.read(); champion.changed()\n"
        "heavy = ['boto3', 'botocore', 'paramiko', 'pydantic', 'rich', 'typer', 'sqlite3', 'cryptography']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=crew.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_asking_is_one_look_at_one_file(local, add, monkeypatch):
    add(local, 1)
    local.promote(NAME, 1)
    champion = Champion(NAME, local.store.uri)
    champion.read()
    keys = []
    read = type(local.store).read
    monkeypatch.setattr(type(local.store), "read", lambda self, key: keys.append(key) or read(self, key))
    for _ in range(3):
        champion.changed()
    assert keys == [f"{NAME}/history/00000002.json"] * 3


def test_no_champion_and_several_files(local, weights_file, add):
    with pytest.raises(WeightsError, match="no weights called digits"):
        Champion(NAME, local.store.uri).read()
    assert not Path(local.store.uri).exists()
    local.add(NAME, {"a.npz": weights_file(1), "b/c.npz": weights_file(2)})
    with pytest.raises(WeightsError, match="no champion yet"):
        Champion(NAME, local.store.uri).read()
    local.promote(NAME, 1)
    champion = Champion(NAME, local.store.uri)
    with pytest.raises(WeightsError, match=r"has 2 weights files; it has a\.npz, b/c\.npz"):
        champion.read()
    assert (champion.read("b/c.npz").arrays["w"] == 2).all()


def test_a_change_in_mid_read_never_gives_a_mix(local, tmp_path):
    """Versions whose every value says their number, promoted and pruned as fast as it goes, while it is read."""
    path = tmp_path / "w.npz"
    over = threading.Event()

    def churn() -> None:
        registry = Registry(local.store)
        for number in range(1, 61):
            np.savez(path, **{f"w{place}": np.full(500, number) for place in range(8)})
            version = registry.add(NAME, {"w.npz": path})
            registry.promote(NAME, version.number)
            prune.prune(registry, [NAME], keep=0, grace_s=-60)
        over.set()

    first = tmp_path / "first.npz"
    np.savez(first, **{f"w{place}": np.full(500, 1) for place in range(8)})
    local.add(NAME, {"w.npz": first})
    local.promote(NAME, 1)
    thread = threading.Thread(target=churn)
    champion = Champion(NAME, local.store.uri)
    champion.read()
    thread.start()
    seen = set()
    try:
        while not over.is_set():
            weights = champion.read()
            values = {int(value) for array in weights.arrays.values() for value in array}
            assert len(values) == 1
            # Version 1 was made twice, of the value 1.
            assert values == {max(1, weights.number - 1)}
            seen.add(weights.number)
    finally:
        thread.join()
    assert len(seen) > 3
    assert champion.read().number == 61


def test_a_program_that_knows_nothing_of_us_reads_one_version_through_the_address(local, tmp_path):
    for number in (1, 2):
        for name in ("a.npz", "b.npz"):
            np.savez(tmp_path / name, w=np.full(4, number))
        local.add(NAME, {name: tmp_path / name for name in ("a.npz", "b.npz")})
    local.promote(NAME, 1)
    over = threading.Event()
    seen: list[tuple[int, int]] = []

    def reader() -> None:
        while not over.is_set():
            folder = (Path(local.store.uri) / NAME / "champion").resolve(strict=True)
            seen.append(tuple(int(np.load(folder / name)["w"][0]) for name in ("a.npz", "b.npz")))

    thread = threading.Thread(target=reader)
    thread.start()
    for turn in range(100):
        local.promote(NAME, turn % 2 + 1)
        time.sleep(0)
    over.set()
    thread.join()
    assert set(seen) <= {(1, 1), (2, 2)}
    assert len(seen) > 3
