"""A job whose result tells whether it was ever resumed wrongly: a hash chain over its steps, saved as it goes.

It saves on SIGUSR1 and goes on, saves on SIGTERM and exits with 143, and every few steps by itself. One line of its
log a step; the result holds the chain's end. It does not take its last step before it was started so many times.
"""

import hashlib
import json
import os
import pathlib
import signal
import sys
import time

steps, step_s, every, starts_wanted = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
place = pathlib.Path(os.environ["GPURUN_CHECKPOINT_DIR"]) / "state.json"
asked = {"save": False, "stop": False}
signal.signal(signal.SIGUSR1, lambda *_: asked.update(save=True))
signal.signal(signal.SIGTERM, lambda *_: asked.update(stop=True))

state = json.loads(place.read_text()) if place.exists() else {"step": 0, "chain": "", "starts": 0}
step, chain, starts = state["step"], state["chain"], state["starts"] + 1


def save() -> None:
    draft = place.with_suffix(".new")
    draft.write_text(json.dumps({"step": step, "chain": chain, "starts": starts}))
    draft.replace(place)


def obey() -> None:
    if asked["stop"]:
        save()
        sys.exit(143)
    if asked["save"]:
        asked["save"] = False
        save()


while step < steps:
    while step == steps - 1 and starts < starts_wanted:
        obey()
        time.sleep(0.02)
    step += 1
    chain = hashlib.sha256(f"{chain} {step}".encode()).hexdigest()
    print(f"step {step} {chain[:16]}", flush=True)
    time.sleep(step_s)
    obey()
    if step % every == 0:
        save()
(pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"]) / "result.txt").write_text(chain + "\n")
