"""Several questions at once, none of which may hold the others up."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from launcher.errors import GpurunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Key = TypeVar("Key")
Value = TypeVar("Value")

PATIENCE = 3.0
"""How many times as long as half of the questions took the others may take."""
MIN_PATIENCE_S = 4.0
MAX_PATIENCE_S = 30.0


def abreast(
    questions: Mapping[Key, Callable[[], Value]], *, patience_s: float = MAX_PATIENCE_S
) -> dict[Key, Value | GpurunError]:
    """Ask all at once; what has no answer in time is not in the result, and its thread is left to itself.

    Once half have answered, the others get `PATIENCE` times as long; without that, `patience_s`.
    """
    answers: SimpleQueue[tuple[Key, Value | Exception]] = SimpleQueue()

    def ask(key: Key, question: Callable[[], Value]) -> None:
        try:
            answers.put((key, question()))
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that waits, if that still does
            answers.put((key, error))

    began = time.monotonic()
    for key, question in questions.items():
        # Daemons: a thread that waits for a dead network must not keep the process from its end.
        threading.Thread(target=ask, args=(key, question), name=f"gpurun-ask-{key}", daemon=True).start()
    limit_s = patience_s
    found: dict[Key, Value | GpurunError] = {}
    while len(found) < len(questions):
        try:
            key, answer = answers.get(timeout=max(0.0, began + limit_s - time.monotonic()))
        except Empty:
            break
        if isinstance(answer, Exception) and not isinstance(answer, GpurunError):
            raise answer
        found[key] = answer
        if 2 * len(found) >= len(questions) and limit_s == patience_s:
            limit_s = min(patience_s, max(MIN_PATIENCE_S, PATIENCE * (time.monotonic() - began)))
    return found
