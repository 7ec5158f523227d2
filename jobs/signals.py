"""Being asked to stop, by SIGTERM (a spot interruption, `gpurun stop`) or Ctrl-C; or to save and go on, by SIGUSR1."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType


@contextmanager
def ends_as_asked() -> Iterator[None]:
    """Python before 3.12 wraps what a handler raises while a class is being made, in an import: it stays an end."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, SystemExit):
            raise error.__cause__ from None
        raise


@dataclass(slots=True)
class StopRequest:
    """Remembers the signal until the training comes to a point where it can stop and go on later."""

    signal_number: int = 0
    save_asked: bool = False
    """Somebody wants a checkpoint now: the machine's end is near. SLURM's convention."""
    training: bool = field(default=False)
    """Before and after the training there is nothing to save: the process ends at once."""
    pass_on: Callable[[int], object] = field(default=lambda _number: None)
    """Tells others, in other processes, what was asked for."""

    def install(self) -> None:
        """Take the place of the default handlers."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)
        signal.signal(signal.SIGUSR1, self._receive_wish)
        signal.siginterrupt(signal.SIGUSR1, False)  # the training goes on, undisturbed

    @property
    def exit_code(self) -> int:
        """As a shell gives it: 128 + the signal's number."""
        return 128 + self.signal_number

    @property
    def name(self) -> str:
        """SIGTERM or SIGINT."""
        return signal.Signals(self.signal_number).name

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.signal_number = number
        self.pass_on(number)
        if not self.training:
            sys.exit(self.exit_code)

    def _receive_wish(self, number: int, _frame: FrameType | None) -> None:
        self.save_asked = True
        self.pass_on(number)
