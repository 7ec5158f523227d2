"""SIGKILL at any moment of adding and promoting: what was told is there, what is there is whole."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from launcher.domain import Account
from launcher.registry import prune
from launcher.registry.registry import Registry
from launcher.registry.store import Store
from launcher.registry.verify import verify
from tests.registry import crew
from tests.registry.conftest import NAME

ROUNDS = 12


def test_a_writer_to_a_bucket_that_is_killed_leaves_all_or_nothing(
    bucket, weights_file, sandbox_none, monkeypatch, tmp_path
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the killed leave theirs
    dice = random.Random(1)
    kill_again_and_again(bucket, sandbox_none.account, weights_file(1), dice, rounds=5)


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_writer_leaves_all_or_nothing(local, weights_file, seed, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the killed leave theirs
    kill_again_and_again(local.store, None, weights_file(1), random.Random(seed), rounds=ROUNDS)
    registry = Registry(local.store)
    registry.store.tidy(-60)
    root = local.store._root
    assert [path for path in root.rglob(".*") if not path.name.startswith(".lock")] == []


def kill_again_and_again(store: Store, account: Account | None, path: Path, dice: random.Random, rounds: int) -> None:
    """A writer each round, killed at some moment; then what is there is compared with what it told."""
    promoted, added = 0, 0
    for _ in range(rounds):
        worker = crew.start("toil", store.uri, account, path)
        try:
            crew.go([worker])
            for _ in range(dice.randrange(1, 9)):
                worker.stdout.readline()
            # Somewhere in the next addition or promotion, which take some milliseconds each.
            for _ in range(dice.randrange(0, 20_000 if account is None else 500_000)):
                pass
        finally:
            worker.send_signal(signal.SIGKILL)
        # What was said before the end came through the pipe.
        rest, _ = worker.communicate()
        for line in rest.splitlines():
            word, number = line.split()
            promoted, added = (int(number), added) if word == "promoted" else (promoted, int(number))
        fresh = Registry(store)
        log = fresh.history(NAME)
        assert set(range(1, added + 1)) <= set(fresh.numbers(NAME))
        assert promoted in {0, *(entry.champion for entry in log.entries)}
        found = verify(fresh, [NAME])
        assert found.findings == ()
        assert found.versions == len(fresh.numbers(NAME))
        assert store.pointed(NAME) == log.champion
    assert Registry(store).history(NAME).sequence > rounds


def test_a_killed_prune_loses_nothing_that_is_needed(local, add, monkeypatch):
    """Between setting an object aside and looking again, which is where it would matter."""
    for value in range(4):
        add(local, value)
    local.promote(NAME, 4)
    monkeypatch.setattr(prune, "_referenced", dying_after(prune._referenced, calls=1))
    with pytest.raises(KeyboardInterrupt):
        prune.prune(local, [NAME], keep=1, grace_s=-60)
    monkeypatch.undo()
    assert len(local.store.trash()) == 1
    # Meanwhile somebody adds what lies in the trash.
    aside = local.store.trash()[0].key
    lost = next(version for version in local.versions(NAME) if version.files[0].sha256 == aside)
    add(local, lost.number - 1)
    prune.prune(Registry(local.store), [NAME], keep=1, grace_s=-60)
    assert local.store.trash() == []
    found = verify(Registry(local.store), [NAME])
    assert (found.versions, found.findings) == (2, ())


def dying_after(function, calls: int):
    """The function, until it has been called so often."""
    left = [calls]

    def call(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return function(*arguments)

    return call
