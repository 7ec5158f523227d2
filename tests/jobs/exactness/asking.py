"""Trainings asked for a checkpoint, and trainings stopped or started when they are done; run as a program.

    python asking.py FOLDER BACKEND MODEL[:OPTION=VALUE..]

Keras is imported once; each training is a fork, with real signals. Says in JSON what became of each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import checkpoint, runtime
from jobs import train as training
from jobs.choice import number_or_text
from jobs.config import resolve
from jobs.signals import StopRequest


def main() -> None:
    root, backend, given = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    model, *options = given.split(":")
    settings = {name: number_or_text(value) for name, value in (option.split("=", 1) for option in options)}
    runtime.load(backend, "cpu", "float32")

    def fork(folder: Path, before: Callable[[], object] = lambda: None) -> int:
        return start(folder, model, {"backend": backend, **settings}, before)

    whole = root / "whole"
    found: dict = {"whole": ended(fork(whole))}
    first = files(whole)
    began = time.monotonic()
    found["again"] = ended(fork(whole))
    found["again_s"] = time.monotonic() - began
    found["again_same"] = files(whole) == first
    found["again_trained"] = "Cost / err" in (whole / "told.txt").read_text()
    found["asked"] = asked(root / "asked", fork, first)
    for name, before in (("last_batch", stop_at_the_last_batch), ("last_save", stop_at_the_last_save)):
        folder = root / name
        found[name] = [ended(fork(folder, before)), (folder / "output" / "result.json").exists()]
        began = time.monotonic()
        found[name] += [ended(fork(folder)), files(folder) == first, "Cost / err" in (folder / "told.txt").read_text()]
    print(json.dumps(found))


def asked(folder: Path, fork: Callable, whole: dict) -> list:
    """Asked for a checkpoint in the middle, killed as soon as it lies there, and gone on from it."""
    child = fork(folder)
    until(lambda: "i=1," in told(folder), child)
    os.kill(child, signal.SIGUSR1)
    until((folder / "checkpoints" / checkpoint.NAME).exists, child)
    went_on = told(folder).count("\n")
    until(lambda: told(folder).count("\n") > went_on, child)  # it goes on
    os.kill(child, signal.SIGKILL)
    killed = ended(child)
    again = ended(fork(folder))
    from_there = "Going on from the checkpoint at iteration i=" in told(folder)
    return [killed, again, from_there, files(folder) == whole]


def told(folder: Path) -> str:
    path = folder / "told.txt"
    return path.read_text() if path.exists() else ""


def until(condition: Callable[[], bool], child: int) -> None:
    """For what a training does and tells nobody of; one that ends instead is a failure."""
    while not condition():
        assert os.waitpid(child, os.WNOHANG)[0] == 0, "it ended before"
        time.sleep(0.005)


def stop_at_the_last_batch() -> None:
    """Once the last epoch is over, and before anything is made of that."""
    from jobs import loop  # it imports Keras

    turn = loop._turn

    def turned(session: loop.Session) -> bool:
        found = turn(session)
        if found and session.place.epoch == session.config.epochs:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    loop._turn = turned


def stop_at_the_last_save() -> None:
    """While the finished training is saved."""
    save = training._save

    def saved(whole: training.Training, session: Any) -> None:
        if session.place.epoch == session.config.epochs:
            os.kill(os.getpid(), signal.SIGTERM)
        save(whole, session)

    training._save = saved


def start(folder: Path, model: str, settings: dict, before: Callable[[], object]) -> int:
    """A training in a fork, its lines in told.txt."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child:
        return child
    file = os.open(folder / "told.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    status = 1
    try:
        before()
        stop = StopRequest()
        stop.install()
        folders = {"output_dir": str(folder / "output"), "checkpoint_dir": str(folder / "checkpoints")}
        status = training.train(resolve(model, {"checkpoint_every_s": 1e6, **folders, **settings}, None), stop)
    finally:
        sys.stdout.flush()
        os._exit(status)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files(folder: Path) -> dict:
    """What must be the same to the byte; the times of metrics and result are a process's own."""
    output = folder / "output"
    rows = map(json.loads, (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    kept = {name: result[name] for name in result if name not in {"seconds", "settings"}}
    metrics = [[row["step"], row["epoch"], row["name"], row["value"]] for row in rows]
    return {"weights": (output / "weights.pkl").read_bytes(), "metrics": metrics, "result": kept}


main()
