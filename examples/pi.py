"""A job of the standard library alone: pi by throwing darts, with all that the job contract offers.

It runs without gpurun too. With it: what lies in the output folder comes home, metrics are charted as they are
written, and after SIGTERM (a spot interruption) the next start goes on from the checkpoint.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

ROUNDS, DARTS = 50, 20_000

output = Path(os.environ.get("GPURUN_OUTPUT_DIR", "output"))
checkpoint = Path(os.environ.get("GPURUN_CHECKPOINT_DIR", output)) / "checkpoint.json"
for folder in (output, checkpoint.parent):
    folder.mkdir(parents=True, exist_ok=True)

stopped = False


def stop(_number: int, _frame: object) -> None:
    """Remember it; the loop ends after its round."""
    global stopped  # noqa: PLW0603  # a signal handler has no other way out
    stopped = True


signal.signal(signal.SIGTERM, stop)
state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"round": 0, "hits": 0}

with (output / "metrics.jsonl").open("a") as metrics:
    while state["round"] < ROUNDS and not stopped:
        dart = random.Random(state["round"])  # a seed a round: a resumed run throws the same darts  # noqa: S311
        state["hits"] += sum(dart.random() ** 2 + dart.random() ** 2 < 1 for _ in range(DARTS))
        state["round"] += 1
        estimate = 4 * state["hits"] / (state["round"] * DARTS)
        print(f"round {state['round']}: {estimate:.5f}", flush=True)
        line = {"step": state["round"], "epoch": 0, "name": "pi", "value": estimate, "time": time.time()}
        metrics.write(json.dumps(line) + "\n")
        beside = checkpoint.with_suffix(".part")
        beside.write_text(json.dumps(state))
        beside.replace(checkpoint)

if stopped and state["round"] < ROUNDS:
    sys.exit(128 + signal.SIGTERM)
result = {"pi": 4 * state["hits"] / (ROUNDS * DARTS), "darts": ROUNDS * DARTS}
(output / "pi.json").write_text(json.dumps(result) + "\n")
