"""A process that dies at any call that changes the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

import pytest


class Died(BaseException):
    """Here the process was killed."""


STEPS = ("rename", "replace", "unlink", "rmdir", "symlink", "chmod", "fchmod", "utime", "mkdir", "link", "write")


class die_after:  # noqa: N801  (a context manager that reads as one)
    """Every call that changes the disk may be the last; true when the end was reached."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.patch = pytest.MonkeyPatch()
        self.died = False

    def __bool__(self) -> bool:
        return self.died

    def __enter__(self) -> Self:
        for name in STEPS:
            self.patch.setattr(os, name, self.counted(getattr(os, name)))
        return self

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if not self.left:
                self.died = True
                raise Died
            self.left -= 1
            return function(*arguments, **named)

        return call

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.patch.undo()
        return kind is Died
