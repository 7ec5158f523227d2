"""A job whose result tells whether it was ever resumed wrongly: a hash chain over its steps, saved as it goes.

It saves on SIGUSR1 and goes on, saves on SIGTERM and exits with 143, and every few steps by itself. One line of its
log a step, written when the step is saved or about to be; the result holds the chain's end.
"""

import hashlib
import json
import os
import pathlib
import signal
import sys
import time

steps, step_s, every = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
place = pathlib.Path(os.environ["GPURUN_CHECKPOINT_DIR"]) / "state.json"
asked = {"save": False, "stop": False}
signal.signal(signal.SIGUSR1, lambda *_: asked.update(save=True))
signal.signal(signal.SIGTERM, lambda *_: asked.update(stop=True))


def save(step: int, chain: str) -> None:
    draft = place.with_suffix(".new")
    draft.write_text(json.dumps({"step": step, "chain": chain}))
    draft.replace(place)


state = json.loads(place.read_text()) if place.exists() else {"step": 0, "chain": ""}
step, chain = state["step"], state["chain"]
while step < steps:
    step += 1
    chain = hashlib.sha256(f"{chain} {step}".encode()).hexdigest()
    print(f"step {step} {chain[:16]}", flush=True)
    time.sleep(step_s)
    if asked["stop"]:
        save(step, chain)
        sys.exit(143)
    if asked["save"] or step % every == 0:
        asked["save"] = False
        save(step, chain)
(pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"]) / "result.txt").write_text(chain + "\n")
