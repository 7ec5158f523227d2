"""gpurun's side of the benchmark, run on the near side as a process of its own.

    ours.py serve            connect once, then do the operations that come in as JSON lines; answer each with a line
    ours.py once OPERATION   do a single one, given as JSON, and end

All that knows the engine's interface is in this file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from launcher.domain import Endpoint, HostKey, TransferProgress

CONNECT_S = 60.0


class Engine:
    """The transfers over one set of connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        from launcher.sync.wire.lines import Lines  # noqa: PLC0415 (a command pays for what it uses)

        self._lines = Lines(endpoint)
        self._lines.control.fresh(CONNECT_S)
        self._lines.warm()

    def push(self, root: Path, remote_dir: str, memo: Path, report: Any) -> int:
        """Make the far folder hold what the near one does; gives the bytes sent."""
        from launcher.sync.local import ignore, tree  # noqa: PLC0415 (a command pays for what it uses)
        from launcher.sync.local.memory import Memory  # noqa: PLC0415 (likewise)
        from launcher.sync.up import upload  # noqa: PLC0415 (likewise)

        scanned = tree.scan(root, ignore=ignore.nothing())
        return upload.push(self._lines, scanned, remote_dir, report, "up", memory=Memory(memo)).sent_bytes

    def pull(self, remote_dir: str, dest: Path, report: Any) -> None:
        """Bring the far folder home."""
        from launcher.sync.down import download  # noqa: PLC0415 (a command pays for what it uses)

        download.pull(self._lines, remote_dir, dest, report, "down")

    def close(self) -> None:
        """Hang up."""
        self._lines.close()


class Report:
    """Told of progress; ends the process, and its group, once a given share is through."""

    def __init__(self, dies_at: float | None) -> None:
        self._dies_at = dies_at

    def __call__(self, progress: TransferProgress) -> None:
        """Told."""
        if self._dies_at is not None and progress.done_bytes >= self._dies_at * progress.total_bytes > 0:
            os.killpg(0, signal.SIGKILL)


def first_command(endpoint: Endpoint) -> float:
    """Seconds from nothing to the end of a command on the machine."""
    from launcher.sync.ssh.connection import connect  # noqa: PLC0415 (a command pays for what it uses)

    began = time.perf_counter()
    with connect(endpoint, timeout_s=CONNECT_S) as connection:
        status = connection.run("true").status
        took_s = time.perf_counter() - began
    if status != 0:
        raise RuntimeError(f"true ended with status {status}")
    return took_s


def do(engine: Engine, wanted: dict[str, Any]) -> dict[str, Any]:
    """One transfer, timed."""
    report, memo = Report(wanted.get("dies_at")), Path(wanted["memo"])
    memo.mkdir(parents=True, exist_ok=True)
    sent_bytes = None
    began = time.perf_counter()
    if wanted["op"] == "push":
        sent_bytes = engine.push(Path(wanted["source"]), wanted["dest"], memo, report)
    else:
        engine.pull(wanted["source"], Path(wanted["dest"]), report)
    return {"wall_s": time.perf_counter() - began, "sent_bytes": sent_bytes}


def serve(endpoint: Endpoint) -> None:
    """Do what standard input asks for, one operation after the other."""
    engine = Engine(endpoint)
    try:
        for line in sys.stdin:
            wanted = json.loads(line)
            try:
                answer = {"wall_s": first_command(endpoint)} if wanted["op"] == "command" else do(engine, wanted)
            except Exception as error:  # noqa: BLE001 (whatever it is, the benchmark tells it and goes on)
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
    finally:
        engine.close()


def once(endpoint: Endpoint, wanted: dict[str, Any]) -> None:
    """A whole command."""
    if wanted["op"] == "command":
        first_command(endpoint)
        return
    engine = Engine(endpoint)
    try:
        do(engine, wanted)
    finally:
        engine.close()


def endpoint_from(told: dict[str, Any]) -> Endpoint:
    """The far side, as the benchmark tells it."""
    algorithm, base64 = told["host_key"]
    return Endpoint(
        address=told["address"],
        port=told["port"],
        user=told["user"],
        host_keys=(HostKey(algorithm=algorithm, base64=base64),),
        key_file=Path(told["key_file"]),
        config_file=Path(told["config_file"]),
    )


if __name__ == "__main__":
    far = endpoint_from(json.loads(sys.argv[2]))
    if sys.argv[1] == "serve":
        serve(far)
    else:
        once(far, json.loads(sys.argv[3]))
