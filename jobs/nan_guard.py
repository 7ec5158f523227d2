"""NanGuardMode and DebugMode stop at the first NaN: which operation it was, told in one line.

Each backend looks in its own way, and raises an error of its own kind with a page of text around the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import JobError

MODES = ("NanGuardMode", "DebugMode")
"""Those that look for it."""
TOLD = (
    re.compile(r"Detected at node (\S+?)(?:/CheckNumericsV2)? defined"),  # TensorFlow, compiled
    re.compile(r"Detected Infinity or NaN in output \d+ of .*?op \"(\w+)\""),  # TensorFlow, compiled or not
    re.compile(r"invalid value \(\w+\) encountered in ([\w.]+)"),  # JAX
    re.compile(r"Function '(\w+)' returned nan values"),  # PyTorch
)


@contextmanager
def first_nan_told(mode: str) -> Iterator[None]:
    """Within it, what a backend raises at a NaN or an infinity becomes a `JobError` that names the operation."""
    try:
        yield
    except Exception as error:
        found = next(filter(None, (pattern.search(str(error)) for pattern in TOLD)), None)
        if mode not in MODES or not found:
            raise
        operation = found[1].rstrip(".")
        raise JobError(f"{mode}: the first NaN or infinity comes out of {operation}", exit_code=1) from error
