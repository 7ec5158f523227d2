"""Two versions side by side: what they measured, what was asked for, and how far their arrays lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from launcher.registry import reading
from launcher.registry.registry import Registry
from launcher.registry.version import File, Version
from launcher.weights.arrays import Array, is_machine_learning


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Something that both may say, and do not say alike."""

    name: str
    one: Any
    other: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPair:
    """One array by its file and name."""

    name: str
    one: str
    """Type and shape; empty where it is not there."""
    other: str
    largest_relative: float | None
    """Largest |b - a| / max(|a|, |b|): 0 to 2; `None` where they cannot be compared."""
    equal: bool
    """Every bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not the same."""

    one: str
    other: str
    metrics: tuple[Value, ...]
    spec: tuple[Value, ...]
    pedigree: tuple[Value, ...]
    """Commit, code, data, run, parent."""
    arrays: tuple[ArrayPair, ...]


def difference(registry: Registry, one: Version, other: Version) -> Difference:
    """Compare two versions, of one name or of two; raises `WeightsError` for damage."""
    for each in (one, other):
        registry.check(each)
    return Difference(
        one=str(one),
        other=str(other),
        metrics=_values(one.about.metrics, other.about.metrics),
        spec=_values(one.about.spec, other.about.spec),
        pedigree=_values(_pedigree(one), _pedigree(other)),
        arrays=tuple(_arrays(registry, one, other)),
    )


def relative(one: Array, other: Array) -> float | None:
    """The largest relative difference of two arrays of one shape; infinite where one alone has NaN or infinity."""
    kinds = {one.dtype.kind, other.dtype.kind}
    numbers = kinds <= set("biufc") or is_machine_learning(one.dtype) or is_machine_learning(other.dtype)
    if one.shape != other.shape or not numbers:
        return None
    if one.size == 0:
        return 0.0
    wide = np.complex128 if "c" in kinds else np.float64
    a, b = one.astype(wide).ravel(), other.astype(wide).ravel()
    with np.errstate(all="ignore"):
        apart = np.abs(b - a)
        share = np.where(apart == 0, 0.0, apart / np.maximum(np.abs(a), np.abs(b)))
    same_nan = np.isnan(a) & np.isnan(b)
    share = np.where(same_nan | (a == b), 0.0, share)
    largest = float(np.max(np.where(np.isnan(share), np.inf, share)))
    return largest if math.isfinite(largest) else math.inf


def _values(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Value, ...]:
    a, b = _flat(one), _flat(other)
    return tuple(
        Value(name=name, one=a.get(name), other=b.get(name)) for name in sorted(a | b) if a.get(name) != b.get(name)
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _pedigree(version: Version) -> dict[str, Any]:
    about = version.about
    return {"run": about.run_id, "parent": about.parent, "code": about.code, "data": about.data}


def _arrays(registry: Registry, one: Version, other: Version) -> list[ArrayPair]:
    files = [{file.name: file for file in version.files if reading.is_weights(file)} for version in (one, other)]
    pairs = []
    for file in sorted(files[0] | files[1]):
        a = _load(registry, one, files[0].get(file))
        b = _load(registry, other, files[1].get(file))
        pairs += [_pair(f"{file}:{name}", a.get(name), b.get(name)) for name in sorted(a | b)]
    return pairs


def _load(registry: Registry, version: Version, file: File | None) -> dict[str, Array]:
    return reading.arrays(registry.store, version, file) if file else {}


def _pair(name: str, one: Array | None, other: Array | None) -> ArrayPair:
    both = one is not None and other is not None
    return ArrayPair(
        name=name,
        one=_shape(one),
        other=_shape(other),
        largest_relative=relative(one, other) if both else None,  # type: ignore[arg-type] # both are there
        equal=both and _equal(one, other),  # type: ignore[arg-type] # likewise
    )


def _equal(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _shape(array: Array | None) -> str:
    return "" if array is None else f"{array.dtype}{list(array.shape)}"
