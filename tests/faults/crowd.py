"""Two figures of whole runs: how soon an interrupted job trains again, and what many runs at once come to."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from tests.e2e.conftest import Laptop
from tests.faults.observer import KEY, Book, Cloud, chains, step_of

LIMIT_S = 600.0
NOTICE_S = 110.0
LOOK_S = 0.02


def interruptions(count: int, sandbox: Sandbox, folder: Path) -> Iterator[dict[str, Any]]:
    """One run after the other, each interrupted once: seconds from the notice to the first step elsewhere.

    `gap_s` is how long of that neither machine trained.
    """
    for number in range(count):
        laptop = _laptop(folder / f"notice{number}", sandbox, ["2000", "0.05", "10", "often", "700"])
        process = laptop.start("launch", "--sandbox", "job.yaml", "--max-hours", "0.2")
        try:
            yield _one_interruption(laptop, sandbox)
        finally:
            laptop.gpurun("down", "--yes", timeout_s=LIMIT_S)
            process.wait()
        shutil.rmtree(laptop.home)


def _one_interruption(laptop: Laptop, sandbox: Sandbox) -> dict[str, Any]:
    book = Book(laptop.state.ledger)
    seen: dict[str, dict[str, Any]] = {}

    def told(kind: str) -> bool:
        seen.update((f"{each.kind} {each.data.get('segment', 1)}", each.data) for each in book.new_events())
        return kind in seen

    _await(lambda: _steps(laptop) >= 20)
    _await(lambda: told("instance 1"))
    began = time.monotonic()
    SandboxClient(sandbox.endpoint_url).interrupt(seen["instance 1"]["id"], in_s=NOTICE_S)
    last, last_at = _steps(laptop), began
    while not told("job.started 2"):
        if _steps(laptop) > last:
            last, last_at = _steps(laptop), time.monotonic()
        time.sleep(LOOK_S)
    _await(lambda: _steps(laptop) > last)
    ended = time.monotonic()
    return {"seconds": round(ended - began, 2), "gap_s": round(ended - last_at, 2)}


def at_once(count: int, sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """So many short runs at the same time, each of another laptop: how they end, what they leave, what they ask."""
    admin, cloud = SandboxClient(sandbox.endpoint_url), Cloud(sandbox.endpoint_url)
    before = {region: cloud.everything(region) for region in cloud.regions()}  # which of them are used shows later
    job = ["20", "0.1", "10", "often", "64"]
    laptops = [_laptop(folder / f"crowd{number}", sandbox, job) for number in range(count)]
    began = time.monotonic()
    processes = [each.start("launch", "--sandbox", "job.yaml", "--max-hours", "0.5") for each in laptops]
    while any(process.poll() is None for process in processes) and time.monotonic() < began + 2 * LIMIT_S:
        time.sleep(1.0)
    took_s = time.monotonic() - began
    for process in processes:
        if process.poll() is None:
            process.kill()
    right = chains(20)
    failed = 0
    for laptop, process in zip(laptops, processes, strict=True):
        run = Book(laptop.state.ledger).run()
        whole = run and step_of(Path(run["results_dir"]) / "weights.bin", right) == 20
        if process.returncode or not whole:
            failed += 1
        else:
            shutil.rmtree(laptop.home)
    leftovers = sum(len(cloud.leftovers(region, there)) for region, there in before.items())
    calls = Counter(each["action"] for each in admin.journal() if each["access_key"] != KEY)
    return {
        "runs": count,
        "failed": failed,
        "leftovers": leftovers,
        "seconds": round(took_s, 1),
        "calls": dict(calls.most_common()),
        "calls_mean": round(sum(calls.values()) / count, 1),
    }


def _laptop(home: Path, sandbox: Sandbox, job: list[str]) -> Laptop:
    laptop = Laptop(home=home, cloud=sandbox)
    laptop.work.mkdir(parents=True)
    laptop.state.home.mkdir(parents=True, mode=0o700)
    laptop.state.sandbox.symlink_to(sandbox.state)
    shutil.copy(Path(__file__).with_name("chained.py"), laptop.work / "chained.py")
    (laptop.work / "job.yaml").write_text(f"name: job\nrun: {['python3', 'chained.py', *job]}\ndevice: cpu\n")
    return laptop


def _steps(laptop: Laptop) -> int:
    """The last step of the log that is home."""
    logs = list(laptop.state.runs.glob("*/log"))
    lines = logs[0].read_bytes().split(b"\n")[:-1] if logs else []
    return int(lines[-1].split()[1]) if lines else 0


def _await(seen: Any) -> None:
    limit = time.monotonic() + LIMIT_S
    while not seen():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(LOOK_S)
