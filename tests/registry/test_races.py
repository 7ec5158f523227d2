"""Many processes at one registry: one champion, a linear history, nothing lost."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.aws.client import Aws
from launcher.registry.bucket import Bucket
from launcher.registry.folder import Folder
from launcher.registry.history import Action
from launcher.registry.registry import Registry
from launcher.registry.store import Store
from launcher.registry.verify import verify
from tests.registry import crew
from tests.registry.conftest import NAME


def race(store: Store, account, processes: int, each: int) -> None:
    """Everybody promotes versions of their own; then everything is compared with what each was told."""
    settled(store, race_in(store, account, processes, each), processes * each)


def race_in(store: Store, account, processes: int, each: int) -> list[list[int]]:
    """Everybody promotes versions of their own; each version with the entry that its promoter was told of."""
    workers = [crew.start("promote", store.uri, account, 1 + place * each, each) for place in range(processes)]
    return [json.loads(line) for lines in crew.together(workers) for line in lines]


def settled(store: Store, told: list[list[int]], count: int) -> None:
    """One champion, a linear history, nothing lost."""
    log = Registry(store).history(NAME)
    assert log.sequence == count
    assert sorted(number for number, _ in told) == list(range(1, count + 1))
    assert {sequence: number for number, sequence in told} == {e.sequence: e.numbers[0] for e in log.entries}
    assert {entry.action for entry in log.entries} == {Action.PROMOTED}
    assert [entry.before for entry in log.entries] == [None, *(entry.champion for entry in log.entries[:-1])]
    assert log.champion == log.entries[-1].numbers[0]
    assert Registry(store).head(NAME) == log.end
    assert store.pointed(NAME) == log.champion
    stages = [log.stage(number).value for number in range(1, count + 1)]
    assert (stages.count("champion"), stages.count("retired")) == (1, count - 1)


def test_a_thousand_promotions_from_twenty_processes_in_a_folder(local, add):
    for value in range(1000):
        add(local, value % 7)
    race(local.store, None, processes=20, each=50)


def test_promotions_from_twenty_processes_in_a_bucket(local, bucket, add, aws, sandbox_none):
    """A thousand, as in the folder, are benchmarks/promotions.py."""
    for value in range(300):
        add(local, value % 7)
    uploaded(local.store, bucket, aws)
    race(bucket, sandbox_none.account, processes=20, each=15)


def uploaded(folder: Folder, bucket: Bucket, aws: Aws) -> None:
    """A store moved as it is: the layout is the same."""
    root = Path(folder.uri)
    where = {"Bucket": bucket._place.bucket}
    files = {f"{bucket._prefix}{path.relative_to(root)}": path for path in root.rglob("*") if path.is_file()}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: aws.s3.put_object(**where, Key=key, Body=files[key].read_bytes()), files))


FAULTS = [
    {"match": {"service": "s3"}, "effect": {"error": "SlowDown", "status": 503}, "probability": 0.1},
    {"match": {"service": "s3", "action": "PUT .*"}, "effect": {"drop": "after"}, "probability": 0.1},
    {
        "match": {"service": "s3", "action": "PUT .*"},
        "effect": {"error": "ConditionalRequestConflict", "status": 409},
        "probability": 0.2,
    },
]


def test_promotions_from_six_processes_in_a_bucket_that_is_throttled_and_loses_answers(
    bucket, add, sandbox_none, cloud
):
    """Of every ten requests one is slowed down; of the writes one is not answered, and two are told of a conflict."""
    for value in range(48):
        add(Registry(bucket), value % 7)
    rules = [cloud.fault({**fault, "times": -1, "seed": 7}) for fault in FAULTS]
    workers = race_in(bucket, sandbox_none.account, processes=6, each=8)
    hits = {rule["id"]: rule["hits"] for rule in cloud.faults()}
    cloud.clear_faults()
    settled(bucket, workers, 48)
    assert all(hits[rule["id"]] > 5 for rule in rules)


def test_against_one_champion_one_of_many_wins(store, registry, add, sandbox_none):
    for value in range(9):
        add(registry, value)
    registry.promote(NAME, 1)
    workers = [crew.start("cas", store.uri, sandbox_none.account, number, 1) for number in range(2, 10)]
    said = list(itertools.chain.from_iterable(crew.together(workers)))
    assert sorted(said) == ["moved"] * 7 + ["won"]
    assert registry.history(NAME).sequence == 2
    assert registry.history(NAME).champion == 2 + said.index("won")


def test_versions_added_at_once_have_a_number_each(store, registry, weights_file, sandbox_none):
    path = weights_file(1)
    workers = [crew.start("add", store.uri, sandbox_none.account, path, 5) for _ in range(6)]
    said = list(itertools.chain.from_iterable(crew.together(workers)))
    assert sorted(map(int, said)) == list(range(1, 31)) == registry.numbers(NAME)
    assert verify(registry, [NAME]).versions == 30


def test_a_prune_without_grace_takes_nothing_from_who_adds(local, weights_file):
    """Versions that share an object with those that are pruned, and objects that no version names yet."""
    local.add(NAME, {"weights.npz": weights_file(0)})
    local.promote(NAME, 1)
    files = [weights_file(value, f"{value}.npz") for value in (0, 1, 2)]
    adders = [crew.start("add", local.store.uri, None, path, 25) for path in files]
    pruners = [crew.start("prune", local.store.uri, None, 25) for _ in range(2)]
    crew.together([*adders, *pruners])
    fresh = Registry(local.store)
    found = verify(fresh, [NAME])
    assert found.findings == ()
    assert fresh.numbers(NAME) == list(range(1, 77))
    assert len(fresh.history(NAME).pruned) == 76 - found.versions
    assert fresh.store.trash() == []
