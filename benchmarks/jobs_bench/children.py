"""The processes that are measured: what they are told, how long they take, and what they say at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
OTHERS = ("GPURUN_", "KERAS_", "THEANO_", "TF_", "OMP_", "MKL_")
"""Settings of the caller's that would change what is measured."""


class Failed(Exception):
    """A process did not do what it should."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A process that ended well."""

    whole_s: float
    text: str  # of its standard output

    @property
    def last_line(self) -> str:
        """Where a script says what it found."""
        return self.text.rpartition("\n")[2]


def environment(cache: Path) -> dict[str, str]:
    """The caller's, without what would change the numbers; parsed data are kept in `cache`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3", "GPURUN_CACHE_DIR": str(cache)}


def run(command: list[str], folder: Path, env: dict[str, str], *, limit_s: float) -> Ran:
    """Run it in `folder` to its end; raises `Failed` on a status, or when it takes longer."""
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as complained:
        began = time.perf_counter()
        try:
            status = subprocess.call(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=told, stderr=complained, timeout=limit_s
            )
        except subprocess.TimeoutExpired as slow:
            raise Failed(f"not done in {limit_s:.0f} s") from slow
        whole_s = time.perf_counter() - began
        told.seek(0)
        complained.seek(0)
        text = told.read().strip()
        if status:
            said = complained.read().strip() or text
            raise Failed(f"status {status}: {said.rpartition(chr(10))[2][-300:]}")
        return Ran(whole_s, text)


def train(model: str, options: tuple[str, ...], output: Path) -> list[str]:
    """`python -m jobs train MODEL ..`, run in the checkout."""
    return [sys.executable, "-m", "jobs", "train", model, *options, "--output-dir", str(output)]


def bfloat16_here() -> bool:
    """Whether the processor has the instructions, as Linux names them."""
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)
