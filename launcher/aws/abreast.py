"""Several questions at once, none of which may hold the others up."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from launcher.errors import GpurunError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Key = TypeVar("Key")
Value = TypeVar("Value")

PATIENCE = 3.0
"""How many times as long as half of the questions took the others may take."""
MIN_PATIENCE_S = 4.0
MAX_PATIENCE_S = 30.0
ALONE_S = 180.0
"""More than all retries of a client take."""


def abreast(
    questions: Mapping[Key, Callable[[], Value]],
    *,
    needed: Collection[Key] = (),
    patience_s: float | None = None,
) -> dict[Key, Value | GpurunError]:
    """Ask all at once; what has no answer in time is not in the result, and its thread is left to itself.

    Once half of them and all of the `needed` have answered, the others get `PATIENCE` times as long; without that,
    `patience_s`. One question alone holds nobody up: it gets the time that its own client gives it.
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
    longest_s = patience_s or (ALONE_S if len(questions) == 1 else MAX_PATIENCE_S)
    limit_s = longest_s
    found: dict[Key, Value | GpurunError] = {}
    while len(found) < len(questions):
        try:
            key, answer = answers.get(timeout=max(0.0, began + limit_s - time.monotonic()))
        except Empty:
            break
        if isinstance(answer, Exception) and not isinstance(answer, GpurunError):
            raise answer
        found[key] = answer
        enough = 2 * len(found) >= len(questions) and all(each in found for each in needed)
        if enough and limit_s == longest_s:
            limit_s = min(longest_s, max(MIN_PATIENCE_S, PATIENCE * (time.monotonic() - began)))
    return found
