"""`--flags device=gpu,floatX=float32,mode=FAST_RUN`: settings as Theano took them from THEANO_FLAGS.

Source: https://theano-pymc.readthedocs.io/en/latest/library/config.html (device, floatX, mode, allow_gc, openmp ..).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jobs.catalogue import nearest
from jobs.errors import JobError

MODES: Mapping[str, str] = MappingProxyType(
    {
        "FAST_RUN": "compiled and optimised: the default",
        "FAST_COMPILE": "compiled with few optimisations: quick to start, slow to run",
        "DebugMode": "one operation after the other, each checked: to find out where it goes wrong",
        "NanGuardMode": "compiled, and stopped by the first NaN or infinity",
    }
)
ALIASES = MappingProxyType({name.lower().replace("_", ""): name for name in MODES})
KNOWN = ("device", "floatX", "mode")
IGNORED = frozenset(
    {
        "allow_gc",
        "nvcc.fastmath",
        "lib.cnmem",
        "gpuarray.preallocate",
        "openmp",
        "optimizer",
        "cuda.root",
        "warn_float64",
    }
    | {"force_device", "exception_verbosity", "optimizer_including", "blas.ldflags", "base_compiledir", "profile"}
)
"""Flags of Theano's that have nothing to act on here."""


def parse(text: str) -> tuple[dict[str, Any], list[str]]:
    """The settings that the flags make, and the names of the flags without effect; raises `JobError` for the rest."""
    settings: dict[str, Any] = {}
    ignored = []
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not value:
            raise JobError(f"--flags: {pair!r} is no name=value")
        if name == "device":
            settings["device"] = device(value)
        elif name.lower() == "floatx":
            settings["floatx"] = value
        elif name == "mode":
            settings["mode"] = mode(value)
        elif name in IGNORED:
            ignored.append(name)
        else:
            raise JobError(f"--flags: {name!r} is unknown{nearest(name, KNOWN)}")
    return settings, ignored


def device(value: str) -> str:
    """Theano's gpu0, cuda, cuda1 are `gpu` here: gpurun gives a job the GPUs that it has."""
    return "gpu" if value.rstrip("0123456789") in {"gpu", "cuda"} else value


def mode(value: str) -> str:
    """Theano's name for it, however it is capitalised; raises `JobError` for another."""
    found = ALIASES.get(value.lower().replace("_", ""))
    if found is None:
        raise JobError(f"mode {value!r} is unknown: expected {', '.join(MODES)}")
    return found
