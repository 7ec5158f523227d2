"""Trains models whole and killed on the way, and says whether the weights are the same; run as a program.

    python killing.py FOLDER KILLS BACKEND MODEL[:OPTION=VALUE..][:set.OPTION=VALUE..] ..

Keras is imported once; each attempt is a fork. It is killed at a moment drawn from a seed: after some of the lines
that the whole training printed, and then some milliseconds: in a step, a line, a checkpoint, wherever it is then.
Most are told with SIGTERM and leave a checkpoint; every fifth attempt dies of SIGKILL, and goes on from an older one.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import sys
import time
from pathlib import Path

from jobs import runtime
from jobs.choice import number_or_text
from jobs.config import resolve
from jobs.errors import JobError
from jobs.signals import StopRequest
from jobs.train import train


def main() -> None:
    folder, kills, backend, *models = sys.argv[1:]
    runtime.load(backend, "cpu", "float32")
    for model in models:
        name, *options = model.split(":")
        given = {"backend": backend, **dict(option.split("=", 1) for option in options)}
        print(json.dumps(compare(Path(folder) / model.replace("/", "_"), name, given, int(kills))), flush=True)


def compare(folder: Path, model: str, options: dict[str, str], kills: int) -> dict:
    """One model, whole and killed."""
    settings: dict = {name: number_or_text(value) for name, value in options.items() if not name.startswith("set.")}
    settings["options"] = {name[4:]: value for name, value in options.items() if name.startswith("set.")} or None
    child, lines = start(folder / "whole", model, settings)
    told = list(lines)
    assert ended(child) == 0, told
    draw, seconds, done = random.Random(model), [], 0
    for kill in range(kills):
        child, lines = start(folder / "killed", model, settings)
        wanted = draw.randrange(3, max(4, len(told) // (2 * kills) + 3))
        for _ in zip(range(wanted), lines, strict=False):
            pass
        time.sleep(draw.uniform(0, 0.05))  # a moment of its own, as a spot interruption has
        number_sent = signal.SIGKILL if kill % 5 == 3 else signal.SIGTERM
        sent = time.monotonic()
        os.kill(child, number_sent)
        rest = list(lines)
        status = ended(child)
        seconds.append(time.monotonic() - sent)
        done += status != 0
        assert status in {0, -number_sent, 128 + number_sent}, rest
    child, lines = start(folder / "killed", model, settings)
    last = list(lines)
    assert ended(child) == 0, last
    whole, killed = (weights(folder / each) for each in ("whole", "killed"))
    return {
        "model": model,
        "kills": done,
        "resumed": any("Going on from" in line for line in last),
        "equal": {name: array.tobytes() for name, array in whole.items()}
        == {name: array.tobytes() for name, array in killed.items()},
        "metrics": metrics(folder / "whole") == metrics(folder / "killed"),
        "slowest_s": round(max(seconds, default=0), 3),
    }


def start(folder: Path, model: str, settings: dict) -> tuple[int, object]:
    """A training in a fork: its process, and its lines as they come."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(reading)
        try:
            status = run(folder, model, settings)
        except JobError as error:
            print(error)
            status = 3
        finally:
            sys.stdout.flush()
        os._exit(status)
    os.close(writing)
    return child, os.fdopen(reading)


def run(folder: Path, model: str, settings: dict) -> int:
    stop = StopRequest()
    stop.install()
    folders = {"output_dir": str(folder / "output"), "checkpoint_dir": str(folder / "checkpoints")}
    return train(resolve(model, {"checkpoint_every_s": 0.1, **folders, **settings}, None), stop)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def weights(folder: Path) -> dict:
    return pickle.loads((folder / "output" / "weights.pkl").read_bytes())


def metrics(folder: Path) -> list:
    rows = map(json.loads, (folder / "output" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [(row["step"], row["epoch"], row["name"], row["value"]) for row in rows]


main()
