"""What a job computes on, and with."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """What the job computes on."""

    CPU = "cpu"
    GPU = "gpu"


class FloatX(StrEnum):
    """The job's floating-point type, as Theano named the setting."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
