"""Processes that begin at the same moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from launcher.domain import Account
from launcher.ledger import account_to_text

ROOT = Path(__file__).parents[2]


def start(what: str, store: str, account: Account | None, *arguments: object) -> subprocess.Popen[str]:
    """A worker that waits at the line."""
    config = account_to_text(account) if account else ""
    command = [sys.executable, "-m", "tests.registry.worker", what, store, config, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(workers: Iterable[subprocess.Popen[str]]) -> None:
    """Let them begin, once all are ready."""
    ready = list(workers)
    for worker in ready:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in ready:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()


def together(workers: Iterable[subprocess.Popen[str]]) -> list[list[str]]:
    """Let them work at the same time; what each said. All must end well, and none is left in any case."""
    crew = list(workers)
    try:
        go(crew)
        said = []
        for worker in crew:
            out, _ = worker.communicate(timeout=150)
            assert worker.returncode == 0, out
            said.append(out.split("\n")[:-1])
        return said
    finally:
        for worker in crew:
            worker.kill()
            worker.communicate()
