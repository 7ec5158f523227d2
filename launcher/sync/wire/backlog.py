"""Pieces of work that wait, pieces that are out, and how it ended; shared by who makes and who carries them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

WAITING_LIMIT = 24
"""Pieces that wait before whoever makes them has to."""

Work = TypeVar("Work")


class Cancelled(Exception):
    """The transfer is over, well or not: nobody needs more work."""


class Backlog(Generic[Work]):
    """A queue that knows what was taken and not answered; each kind of waiting has a bell of its own.

    One bell for all would wake every thread for every piece, to fight over the interpreter.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._waiting: deque[Work] = deque()
        self._out = 0
        self._closed = False
        lock = threading.RLock()
        self._work = threading.Condition(lock)
        self._space = threading.Condition(lock)
        self._end = threading.Condition(lock)

    @property
    def waiting(self) -> int:
        """How many pieces no lane has taken yet."""
        return len(self._waiting)

    @property
    def over(self) -> bool:
        """Whether it failed, or every piece that will ever come is answered."""
        return self.error is not None or (self._closed and not self._waiting and not self._out)

    def put(self, work: Work) -> None:
        """Add a piece, when there is space; raises `Cancelled`."""
        with self._space:
            while len(self._waiting) >= WAITING_LIMIT and self.error is None:
                self._space.wait()
            if self.error is not None:
                raise Cancelled
            self._waiting.append(work)
            self._work.notify()

    def put_first(self, work: Work) -> None:
        """Add a piece before all others, space or no space; raises `Cancelled`."""
        with self._work:
            if self.error is not None:
                raise Cancelled
            self._waiting.appendleft(work)
            self._work.notify()

    def close(self) -> None:
        """No more will be put, but what answers bring."""
        with self._work:
            self._closed = True
            self._ring_if_over()

    def fail(self, error: BaseException) -> None:
        """End it with the first error that comes."""
        with self._work:
            self.error = self.error or error
            self._ring_if_over()

    def take(self, stopped: threading.Event) -> Work | None:
        """The next piece; `None` when no more will come, or the one who asks is `stopped` (see `wake`)."""
        with self._work:
            while not self.over and not stopped.is_set():
                if self._waiting:
                    self._out += 1
                    self._space.notify()
                    return self._waiting.popleft()
                self._work.wait()
            if self._waiting:
                self._work.notify()  # the bell was for another, too
            return None

    def done(self) -> None:
        """A piece was answered."""
        with self._work:
            self._out -= 1
            self._ring_if_over()

    def again(self, works: list[Work]) -> None:
        """Pieces that were taken and will not be answered."""
        with self._work:
            self._out -= len(works)
            self._waiting.extendleft(reversed(works))
            self._work.notify_all()
            self._ring_if_over()

    def wake(self) -> None:
        """Have whoever takes look again."""
        with self._work:
            self._work.notify_all()

    def await_end(self, timeout_s: float) -> bool:
        """Wait for the end; whether it has come."""
        with self._end:
            return self._end.wait_for(lambda: self.over, timeout_s)

    def _ring_if_over(self) -> None:
        if self.over:
            for bell in (self._work, self._space, self._end):
                bell.notify_all()
