"""One of many processes at a registry, driven by its arguments: python worker.py WHAT STORE CONFIG..."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from launcher.errors import ChampionMoved, WeightsError
from launcher.ledger import account_from_text
from launcher.registry.place import open_store
from launcher.registry.registry import Registry
from launcher.registry.version import About


def main() -> None:
    what, store, account, *rest = sys.argv[1:]
    registry = Registry(open_store(store, account=account_from_text(account) if account else None))
    print("ready", flush=True)
    sys.stdin.readline()
    ACTIONS[what](registry, *rest)


def promote(registry: Registry, first: str, count: str) -> None:
    """Promote so many versions, one after the other, whatever the champion is."""
    for number in range(int(first), int(first) + int(count)):
        change = registry.promote("digits", number, why=f"worker {first}")
        print(json.dumps([number, change.entry.sequence if change.entry else None]), flush=True)


def compare_and_swap(registry: Registry, number: str, expected: str) -> None:
    """Promote against one champion, once."""
    try:
        registry.promote("digits", int(number), expected_champion=int(expected))
    except ChampionMoved:
        print("moved", flush=True)
    else:
        print("won", flush=True)


def add(registry: Registry, path: str, count: str) -> None:
    """Add a file so many times."""
    for _ in range(int(count)):
        print(registry.add("digits", {"weights.npz": Path(path)}).number, flush=True)


def toil(registry: Registry, path: str) -> None:
    """Add and promote for ever, telling each thing that is done."""
    while True:
        number = registry.add("digits", {"weights.npz": Path(path)}, About(notes=("made by a worker",))).number
        print(f"added {number}", flush=True)
        registry.promote("digits", number)
        print(f"promoted {number}", flush=True)


def prune(registry: Registry, times: str) -> None:
    """Prune with no grace at all."""
    from launcher.registry import prune as pruning

    for _ in range(int(times)):
        try:
            pruning.prune(registry, ["digits"], keep=1, grace_s=-60)
        except WeightsError as error:
            print(error.message, flush=True)
            raise


ACTIONS = {"promote": promote, "cas": compare_and_swap, "add": add, "toil": toil, "prune": prune}

if __name__ == "__main__":
    main()
