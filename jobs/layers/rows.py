"""Rows as they come: plain rows of numbers, for networks that take them in no other shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import JobError

if TYPE_CHECKING:
    from jobs.config import Config


def check_classes_of_rows(config: Config) -> None:
    """Raise `JobError` unless each row of the data is a row of numbers, and its answer a class."""
    if len(config.input_shape) != 1:
        raise JobError(f"{config.model} takes rows of numbers: those of these data have the shape {config.input_shape}")
    if not config.classes:
        raise JobError(f"{config.model} tells classes apart: the targets of these data are numbers")
