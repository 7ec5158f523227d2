"""TensorFlow's greetings, kept from the terminal: nothing else that a library writes is lost."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

GREETINGS = (
    b"All log messages before absl::InitializeLog()",
    b"oneDNN custom operations are on",
    b"optimized to use available CPU instructions",
    b"To enable the following instructions",
)
"""Lines that TensorFlow's C++ parts print at import, whatever TF_CPP_MIN_LOG_LEVEL says."""


@contextmanager
def without_greetings() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 meanwhile; then pass it on, but for TensorFlow's greetings.

    When it ends with an exception everything is passed on: it may say why.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        dropped: tuple[bytes, ...] = ()
        try:
            yield
            dropped = GREETINGS
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not any(greeting in line for greeting in dropped):
                    os.write(2, line)
