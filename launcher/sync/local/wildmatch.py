"""Git's patterns as regular expressions, exactly: what `git check-ignore` matches, and nothing else.

A pattern and the names that it meets are bytes to git; here they are text with one character for each byte.
"""

from __future__ import annotations

import re

SPECIAL = "*?[\\"
"""What makes a pattern more than the text that it is."""

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\x20\t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\x20\t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class NeverMatches(ValueError):
    """The pattern is broken, which git takes for one that matches nothing."""


def literal_length(pattern: str) -> int:
    """How many characters at the pattern's beginning stand for themselves."""
    return next((index for index, character in enumerate(pattern) if character in SPECIAL), len(pattern))


def name_regex(pattern: str) -> str:
    """The pattern of a bare name, for a full match; raises `NeverMatches`."""
    return _translate(pattern, paths=False)


def path_regex(pattern: str) -> str:
    """The pattern of a path, for a full match: `*` and `?` stop at a slash; raises `NeverMatches`."""
    # Git compares the literal beginning first and matches what is left as a pattern of its own.
    length = literal_length(pattern)
    return re.escape(pattern[:length]) + _translate(pattern[length:], paths=True)


def _translate(pattern: str, *, paths: bool) -> str:
    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            part, at = _stars(pattern, at) if paths else (".*", _after_stars(pattern, at))
        elif character == "[":
            part, at = _bracket(pattern, at + 1, paths=paths)
        elif character == "?":
            part, at = "[^/]" if paths else ".", at + 1
        else:
            literal, at = _literal(pattern, at)
            part = re.escape(literal)
        parts.append(part)
    return "".join(parts)


def _after_stars(pattern: str, at: int) -> int:
    while pattern.startswith("*", at):
        at += 1
    return at


def _stars(pattern: str, at: int) -> tuple[str, int]:
    """One star stays within a name; two or more cross slashes where they stand alone between them."""
    after = _after_stars(pattern, at)
    alone = at == 0 or pattern[at - 1] == "/"
    if after - at == 1 or not alone or not (after == len(pattern) or pattern.startswith(("/", "\\/"), after)):
        return "[^/]*", after
    if pattern.startswith("/", after):
        return "(?:.*/)?", after + 1
    return ".*", after


def _literal(pattern: str, at: int) -> tuple[str, int]:
    """One character, or the one behind a backslash, and where it ends."""
    if pattern[at] == "\\":
        at += 1
    if at >= len(pattern):
        raise NeverMatches(pattern)
    return pattern[at], at + 1


def _bracket(pattern: str, at: int, *, paths: bool) -> tuple[str, int]:
    """A bracket expression, whose text begins at `at`, and where it ends."""
    negated = pattern.startswith(("!", "^"), at)
    at += negated
    members, low, first = "", "", at
    while not (pattern.startswith("]", at) and at > first):
        if at >= len(pattern):
            raise NeverMatches(pattern)
        name_end = pattern.find("]", at + 2) if pattern.startswith("[:", at) else -1
        if pattern.startswith("-", at) and low and at + 1 < len(pattern) and pattern[at + 1] != "]":
            high, at = _literal(pattern, at + 1)
            members, low = members + _range(low, high), ""
        elif pattern.startswith("[:", at) and (name_end < 0 or (name_end > at + 2 and pattern[name_end - 1] == ":")):
            members, low, at = members + _named(pattern, at + 2, name_end), "", name_end + 1
        else:
            low, at = _literal(pattern, at)
            members += _range(low, low)
    inside = f"[{'^' if negated else ''}{members}]" if members else ("." if negated else "(?!)")
    return ("(?!/)" if paths else "") + inside, at + 1


def _range(low: str, high: str) -> str:
    """`low` to `high`; nothing at all where they stand the wrong way round."""
    return rf"\x{ord(low):02x}-\x{ord(high):02x}" if low <= high else ""


def _named(pattern: str, at: int, end: int) -> str:
    """The characters of `[:name:]`, whose name begins at `at` and whose bracket closes at `end`."""
    name = pattern[at : end - 1]
    if end < 0 or name not in _CLASSES:
        raise NeverMatches(pattern)
    return _CLASSES[name]
