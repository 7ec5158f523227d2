"""What a network asks of the data: plain rows of numbers, or classes to tell apart, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import JobError

if TYPE_CHECKING:
    from jobs.config import Config


def check_rows(config: Config) -> None:
    """Raise `JobError` unless each row of the data is a row of numbers."""
    if len(config.input_shape) != 1:
        raise JobError(f"{config.model} takes rows of numbers: those of these data have the shape {config.input_shape}")


def check_classes(config: Config) -> None:
    """Raise `JobError` unless the answer to each row of the data is a class."""
    if not config.classes:
        raise JobError(f"{config.model} tells classes apart: the targets of these data are numbers")


def check_classes_of_rows(config: Config) -> None:
    """Raise `JobError` unless each row of the data is a row of numbers, and its answer a class."""
    check_rows(config)
    check_classes(config)
