"""A training whose every file tells whether it is whole, and whose weights tell whether it was ever resumed wrongly.

    python3 chained.py STEPS STEP_S EVERY HABIT WEIGHTS_KIB

Its state is a hash chain over its steps. A file of it holds one line of JSON, step and chain, and after it bytes that
follow from the chain: whoever knows the step can tell each byte of it. HABIT is what it does about checkpoints: `often`
saves every EVERY steps and when it is asked, `asked` only when it is asked, `never` knows of no checkpoints at all and
begins anew. Asked means SIGUSR1 (save and go on) or SIGTERM (save and exit with 143).
"""

import hashlib
import json
import os
import pathlib
import signal
import sys
import time

CORRUPT = 99


def link(chain: str, step: int) -> str:
    """The chain with one more step in it."""
    return hashlib.sha256(f"{chain} {step}".encode()).hexdigest()


def content(step: int, chain: str, size_bytes: int) -> bytes:
    """What a file of that step holds."""
    head = json.dumps({"step": step, "chain": chain, "size_bytes": size_bytes}).encode() + b"\n"
    return head + hashlib.shake_256(chain.encode()).digest(size_bytes)


def save(path: pathlib.Path, data: bytes) -> bool:
    """Replace a file in one step; a disk that is full leaves the old one."""
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        print(f"cannot save {path.name}: {error.strerror}", flush=True)
        draft.unlink(missing_ok=True)
        return False
    return True


def main() -> None:
    steps, step_s, every, habit, size_bytes = (
        int(sys.argv[1]),
        float(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
        1024 * int(sys.argv[5]),
    )
    state = pathlib.Path(os.environ["GPURUN_CHECKPOINT_DIR"]) / "state.bin"
    weights = pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"]) / "weights.bin"
    asked = {"save": False, "stop": False}
    if habit != "never":
        signal.signal(signal.SIGUSR1, lambda *_: asked.update(save=True))
        signal.signal(signal.SIGTERM, lambda *_: asked.update(stop=True))
    step, chain = 0, ""
    if state.exists():
        found = state.read_bytes()
        told = json.loads(found.partition(b"\n")[0])
        step, chain = told["step"], told["chain"]
        if found != content(step, chain, size_bytes):
            print("the checkpoint is corrupt", flush=True)
            sys.exit(CORRUPT)
    while step < steps:
        step += 1
        chain = link(chain, step)
        print(f"step {step} {chain[:16]}", flush=True)
        time.sleep(step_s)
        if asked["stop"] or asked["save"] or (habit == "often" and step % every == 0):
            whole = content(step, chain, size_bytes)
            saved = save(state, whole) and save(weights, whole)
            if asked["stop"]:
                sys.exit(143)
            asked["save"] = asked["save"] and not saved
    while not save(weights, content(step, chain, size_bytes)):
        time.sleep(step_s)
        if asked["stop"]:
            sys.exit(143)


if __name__ == "__main__":
    main()
