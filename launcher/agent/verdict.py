"""What became of a leg's trial: done, failed, or done somewhere else than on the device that it was told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from .files import open_file

if TYPE_CHECKING:
    from .gpu import Watch
    from .wire import Json

DONE, FAILED, NO_DEVICE, WRONG_DEVICE = "done", "failed", "no device", "wrong device"
RESULT_FILE = "result.json"
RESULT_LIMIT_BYTES = 1 << 20
LIBRARIES = {
    "tensorflow": "TensorFlow found no GPU (is its CUDA build installed?)",
    "jax": "JAX found no GPU (is its CUDA plugin installed?)",
    "torch": "PyTorch found no GPU (is its CUDA build installed?)",
}
UNKNOWN_LIBRARY = "its library found no GPU, or it does not heed GPURUN_DEVICE"


class End(NamedTuple):
    """How a trial's process ended."""

    status: int
    """As a shell gives it."""
    out_of_memory: bool = False


def verdict(device: str, backend: str, end: End, watch: Watch, folder: str) -> tuple[str, str]:
    """The trial's state, and the reason where it is not done."""
    if end.status:
        unseen = device == "gpu" and watch.telling() and not watch.by_job()
        return FAILED, reason_of(end) + ("; no process of it was seen on the GPU" if unseen else "")
    result = result_of(folder)
    told = device_told(result)
    cause = LIBRARIES.get(backend or backend_told(result), UNKNOWN_LIBRARY)
    if device == "gpu" and told == "cpu":
        return WRONG_DEVICE, f"the job ran on the cpu: {cause}"
    if device == "gpu" and watch.telling() and not watch.by_job():
        looks = len(watch.looks)
        return WRONG_DEVICE, f"no process of the job was seen on the GPU in {looks} looks at it: {cause}"
    if device == "cpu" and (watch.by_pid or told == "gpu"):
        return WRONG_DEVICE, "the job ran on the gpu: it heeds neither GPURUN_DEVICE nor CUDA_VISIBLE_DEVICES"
    return DONE, ""


def reason_of(end: End) -> str:
    """Why a process failed, in words."""
    if end.out_of_memory:
        return "it was killed for lack of memory"
    if end.status == 127:
        return "its command was not found"
    if end.status == 126:
        return "its command cannot be executed"
    if end.status > 128:
        with contextlib.suppress(ValueError):
            return f"it was killed by {signal.Signals(end.status - 128).name}"
    return f"exit status {end.status}"


def result_of(folder: str) -> dict[str, Json]:
    """What the job itself wrote of its result; empty where that is nothing of the kind."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        descriptor = open_file(f"{folder}/{RESULT_FILE}")
        with open(descriptor, "rb") as file:
            text = file.read(RESULT_LIMIT_BYTES + 1)
        found = json.loads(text) if len(text) <= RESULT_LIMIT_BYTES else None
        return found if isinstance(found, dict) else {}
    return {}


def device_told(result: dict[str, Json]) -> str:
    """`cpu` or `gpu`, where the job says on which it ran; else empty."""
    told = str(result.get("device", "")).lower()
    if told.startswith("cpu"):
        return "cpu"
    return "gpu" if told.startswith(("gpu", "cuda")) else ""


def backend_told(result: dict[str, Json]) -> str:
    """The library that the job says it computed with; else empty."""
    settings = result.get("settings")
    return str(settings.get("backend", "")) if isinstance(settings, dict) else ""


def exit_status_of(status: int) -> int:
    """What wait(2) gives, as a shell has it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
