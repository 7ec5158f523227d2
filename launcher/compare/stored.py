"""A comparison as JSON, for the ledger and `--json`, and back again."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from launcher.comparison import Comparison
from launcher.errors import LedgerError

SCHEMA = 1
"""Raised when a field changes its meaning or goes; a field that comes needs a default and nothing here."""


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain values: numbers that are finite, texts, lists and mappings; dates as ISO 8601 with their zone."""
    return {"schema": SCHEMA, **_plain(comparison)}


def from_json(found: object) -> Comparison:
    """The comparison again; raises `LedgerError` for one that a newer gpurun has written, or that is broken.

    Fields that are not known are passed over, those that lack take their defaults.
    """
    if not isinstance(found, Mapping) or not isinstance(schema := found.get("schema"), int):
        raise LedgerError("this is no comparison of gpurun's", hint="make it anew: gpurun compare-cpu-gpu")
    if schema > SCHEMA:
        message = f"the comparison has the form {schema}, of a newer gpurun; this one knows {SCHEMA}"
        raise LedgerError(message, hint="pip install --upgrade gpurun-launcher")
    try:
        made = _made(Comparison, found)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as fault:
        raise LedgerError(f"the comparison is broken: {fault}", hint="make it anew: gpurun compare-cpu-gpu") from fault
    if not isinstance(made, Comparison):
        raise LedgerError("the comparison is empty", hint="make it anew: gpurun compare-cpu-gpu")
    return made


def dumps(comparison: Comparison) -> str:
    """As text for the ledger."""
    return json.dumps(to_json(comparison), allow_nan=False, separators=(",", ":"))


def loads(text: str) -> Comparison:
    """From the ledger's text; raises `LedgerError`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise LedgerError(f"the comparison is broken: {fault}", hint="make it anew: gpurun compare-cpu-gpu") from fault
    return from_json(found)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else value


def _made(kind: Any, found: Any) -> Any:
    """`found` as the annotated type says; raises what does not fit."""
    origin = typing.get_origin(kind)
    if origin in {types.UnionType, typing.Union}:
        inner = [each for each in typing.get_args(kind) if each is not type(None)]
        return None if found is None else _made(inner[0], found)
    if origin is tuple:
        return _tuple(typing.get_args(kind), found)
    if isinstance(kind, type) and is_dataclass(kind):
        known = _types(kind)
        return kind(**{name: _made(known[name], value) for name, value in found.items() if name in known})
    if kind is datetime:
        return datetime.fromisoformat(found)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(found)
    return _scalar(getattr(kind, "__supertype__", kind), found)


def _tuple(kinds: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise TypeError(f"{found!r:.40} where a list is expected")
    if kinds[-1] is Ellipsis:
        return tuple(_made(kinds[0], each) for each in found)
    return tuple(_made(kind, each) for kind, each in zip(kinds, found, strict=True))


def _scalar(kind: Any, found: Any) -> Any:
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        return float(found)
    if type(found) is not kind:
        raise TypeError(f"{found!r:.40} where a {kind.__name__} is expected")
    return found


@cache
def _types(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)
