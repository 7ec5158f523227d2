"""A YAML file as plain values, each with its place, and what is wrong with it as YAML."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from launcher.spec.mistakes import Mistake, Where, dotted, spec_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_SIZE_BYTES = 1 << 20
MAX_NODES = 10_000
"""Aliases counted as often as they are used: a few lines of YAML can stand for billions of values."""
MAX_DEPTH = 20
_VERBATIM = frozenset({"env", "run", "name"})
"""Fields that are text: `1e-3` and `0x10` below them stay as they are written."""

_KINDS = frozenset({"map", "seq", "str", "int", "float", "bool", "null", "timestamp"})


class _TooMuch(Exception):
    """More nodes or levels than a spec can need."""


@dataclass(slots=True)
class Document:
    """A mapping read from YAML; `null` fields are left out, as if they were not written."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    _keys: dict[Where, tuple[int, int]] = field(default_factory=dict)
    _values: dict[Where, tuple[int, int]] = field(default_factory=dict)
    _nodes: int = 0

    def report(self, where: Where, text: str, *, at_key: bool = False) -> None:
        """Note a mistake at a field, or at the nearest field around it that is written."""
        line, column = self._place(where, at_key=at_key)
        self.mistakes.append(Mistake(line, column, dotted(where) or "spec", text))

    def raise_mistakes(self) -> None:
        """Raise `SpecError` if there is any."""
        if self.mistakes:
            raise spec_error(self.path, self.mistakes)

    def _place(self, where: Where, *, at_key: bool) -> tuple[int, int]:
        places = self._keys if at_key else self._values
        while where and where not in places:
            where, places = where[:-1], self._values
        return places.get(where, (1, 1))

    def _read(self, node: Node, where: Where) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(where) > MAX_DEPTH:
            raise _TooMuch
        self._values[where] = _start(node)
        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if kind not in _KINDS:
            self.report(where, f"the YAML tag {kind!r} is not known here, expected a plain value")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(kind, node.value, where)
        if isinstance(node, MappingNode):
            return self._mapping(node, where)
        return [self._read(child, (*where, index)) for index, child in enumerate(node.value)]

    def _mapping(self, node: MappingNode, where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._values[(*where, "?")] = _start(key_node)
                self.report((*where, "?"), "a field's name is not text, expected `name: value`")
                continue
            key = key_node.value
            here = (*where, key)
            if here in self._keys:
                first = self._keys[here][0]
                self._keys[here] = _start(key_node)
                self.report(here, f"given twice, first on line {first}; expected once", at_key=True)
            self._keys[here] = _start(key_node)
            value = self._read(value_node, here)
            if value is None:
                self._values[here] = self._keys[here]
            if value is not None or where[:1] == ("env",):
                found[key] = value
        return found

    def _scalar(self, kind: str, text: str, where: Where) -> Any:
        if kind == "null":
            return None
        return text if where[:1] and where[0] in _VERBATIM else _plain(kind, text)


def read(path: Path) -> Document:
    """Read a spec's YAML; what cannot be read as YAML raises `SpecError` with its place.

    Duplicate keys are noted in `mistakes`, so that they are told together with those of the fields.
    """
    document = Document(path)
    text = _decode(path, _bytes(path))
    roots = _compose(path, text)
    if len(roots) > 1:
        line, column = _start(roots[1])
        raise _fault(path, line, column, "a second YAML document, expected one")
    if not roots:
        raise _fault(path, 1, 1, "the file is empty, expected fields such as `run: python train.py`")
    root = roots[0]
    if not isinstance(root, MappingNode):
        line, column = _start(root)
        raise _fault(path, line, column, "not a mapping, expected fields such as `run: python train.py`")
    try:
        document.values = document._read(root, ())
    except _TooMuch:
        limit = f"expected at most {MAX_NODES} values, nested {MAX_DEPTH} deep"
        raise _fault(path, 1, 1, f"too many values or levels (aliases expanded), {limit}") from None
    return document


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_SIZE_BYTES + 1)
    if len(data) > MAX_SIZE_BYTES:
        raise _fault(path, 1, 1, f"larger than {MAX_SIZE_BYTES} bytes, expected a spec of a few lines")
    return data


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = data[: fault.start].decode("utf-8", errors="replace")
        line, column = _line_and_column(before)
        text = f"byte 0x{data[fault.start]:02x} is not UTF-8, expected the file saved as UTF-8"
        raise _fault(path, line, column, text) from fault


def _compose(path: Path, text: str) -> Sequence[Node]:
    try:
        with warnings.catch_warnings():
            # An anchor defined again is odd but legal: the later one counts.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            return list(YAML(typ="safe", pure=True).compose_all(text))
    except MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _fault(path, line, column, _syntax(fault)) from fault
    except ReaderError as fault:
        line, column = _line_and_column(text[: fault.position])
        character = fault.character if isinstance(fault.character, int) else ord(fault.character[:1] or "\0")
        message = f"control character U+{character:04X}, expected printable text"
        raise _fault(path, line, column, message) from fault
    except RecursionError:
        raise _fault(path, 1, 1, f"nested too deeply, expected at most {MAX_DEPTH} levels") from None
    except (YAMLError, ValueError) as fault:
        raise _fault(path, 1, 1, f"not YAML ({fault}), expected `field: value` lines") from fault


def _syntax(fault: MarkedYAMLError) -> str:
    problem = (fault.problem or "bad syntax").strip()
    if "'\\t'" in problem:
        return "a tab, expected spaces for indentation"
    context = f" {fault.context.strip()}" if fault.context else ""
    return f"{problem}{context}, expected valid YAML"


def _fault(path: Path, line: int, column: int, text: str) -> Exception:
    return spec_error(path, [Mistake(line, column, "yaml", text)])


def _start(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _line_and_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _plain(kind: str, text: str) -> bool | int | float | str:
    """A scalar by the YAML 1.2 core schema, with the words of 1.1 where the file asks for that version."""
    if kind == "bool":
        return text.lower() in {"true", "yes", "on", "y"}
    digits = text.replace("_", "")
    try:
        if kind == "int":
            return int(digits, 0) if digits.lstrip("+-")[:2].lower() in {"0x", "0o", "0b"} else int(digits)
        if kind == "float":
            return float(digits.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    return text
