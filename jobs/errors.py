"""The one error that the jobs raise on purpose."""

from __future__ import annotations


class JobError(Exception):
    """A mistake that the caller can mend, told in one line; `exit_code` 2: the input, 1: the machine."""

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code
