"""What policies say of a request: allowed, or why not. What cannot be judged here is refused, never taken as held.

Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

log = logging.getLogger(__name__)

Context = Mapping[str, str | tuple[str, ...]]
"""What a request says of itself under IAM's condition keys; a key that holds several values has a tuple."""

_KEYS = frozenset(
    {
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:tagkeys",
        "ec2:createaction",
        "ec2:instancetype",
        "ec2:launchtemplate",
        "iam:passedtoservice",
        "s3:prefix",
    }
)
_KEYS_OF_TAGS = ("aws:requesttag/", "aws:resourcetag/", "ec2:resourcetag/")
_ELEMENTS = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)


class Unjudged(Exception):
    """A policy says something that the sandbox does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One permission that a request takes."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def objection(documents: Sequence[str], need: Need) -> str:
    """Why these policies do not permit it, in the words of AWS; empty where they do."""
    try:
        effects = {str(each["Effect"]) for text in documents for each in statements(text) if _speaks_of(each, need)}
    except Unjudged as error:
        log.error("refused %s on %s: %s", need.action, need.resource, error)  # noqa: TRY400 - a person is to read it
        return f"because the sandbox cannot judge it: {error}"
    if "Deny" in effects:
        return "with an explicit deny in an identity-based policy"
    return "" if effects else f"because no identity-based policy allows the {need.action} action"


def statements(document: str) -> list[Mapping[str, Any]]:
    """A policy's statements."""
    found = json.loads(document).get("Statement", [])
    return list(found) if isinstance(found, list) else [found]


def many(value: object) -> list[str]:
    """One value or a list of them, as a list."""
    return [_text(each) for each in value] if isinstance(value, list) else [_text(value)]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _speaks_of(statement: Mapping[str, Any], need: Need) -> bool:
    strange = set(statement) - _ELEMENTS
    if strange:
        raise Unjudged(f"it knows no {', '.join(sorted(strange))} in a statement")
    return (
        _covers(statement, "Action", need.action.lower(), str.lower)
        and _covers(statement, "Resource", need.resource, str)
        and all(
            _holds(operator, key, many(values), need.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _covers(statement: Mapping[str, Any], element: str, value: str, form: Callable[[str], str]) -> bool:
    """Whether `Action` or `Resource`, or its negation, takes in a value; a trust policy has no resource."""
    negated = f"Not{element}" in statement
    patterns = many(statement.get(f"Not{element}" if negated else element, "*"))
    return any(_like(form(pattern), value) for pattern in patterns) is not negated


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    """One line of a condition; raises `Unjudged` where its operator or key is not known."""
    name = key.lower()
    if name not in _KEYS and not name.startswith(_KEYS_OF_TAGS):
        raise Unjudged(f"it does not know the condition key {key}")
    found = {each.lower(): value for each, value in context.items()}.get(name)
    if operator == "Null":
        return (found is None) == (wanted == ["true"])
    quantity, _, plain = operator.rpartition(":")
    base = plain.removesuffix("IfExists")
    compare = _OPERATORS.get(base)
    if compare is None or quantity not in _QUANTITIES:
        raise Unjudged(f"it does not know the condition operator {operator}")
    if found is None and plain != base:
        return True
    values = (found,) if isinstance(found, str) else found or ()
    if isinstance(found, tuple) and not quantity:
        raise Unjudged(f"{key} holds several values: say ForAnyValue or ForAllValues")
    return _QUANTITIES[quantity](compare(value, wanted) for value in values)


def _arn_like(value: str, patterns: list[str]) -> bool:
    """Each of an ARN's six parts on its own: a `*` does not reach over a colon."""
    parts = value.split(":", 5)
    return any(
        len(wanted := pattern.split(":", 5)) == len(parts) and all(map(_like, wanted, parts)) for pattern in patterns
    )


_OPERATORS: dict[str, Callable[[str, list[str]], bool]] = {
    "StringEquals": lambda value, wanted: value in wanted,
    "StringNotEquals": lambda value, wanted: value not in wanted,
    "StringLike": lambda value, wanted: any(_like(pattern, value) for pattern in wanted),
    "StringNotLike": lambda value, wanted: not any(_like(pattern, value) for pattern in wanted),
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
}
_QUANTITIES: dict[str, Callable[..., bool]] = {"": any, "ForAnyValue": any, "ForAllValues": all}
"""Of no values, any is false and all is true, as IAM has it."""


def _like(pattern: str, value: str) -> bool:
    if "${" in pattern:
        raise Unjudged(f"it knows no policy variables: {pattern}")
    return _glob(pattern).fullmatch(value) is not None


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    """IAM's wildcards, which are `*` and `?` alone."""
    words = {"*": ".*", "?": "."}
    return re.compile("".join(words.get(each, re.escape(each)) for each in pattern), re.DOTALL)
