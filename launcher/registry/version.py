"""One version: its files by content, and where they come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from launcher.registry import documents, names
from launcher.registry.documents import broken

FORMAT = "gpurun version 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file by name and content."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A version's pedigree, as far as it is known: all of it optional, none of it changed after."""

    run_id: str = ""
    parent: int | None = None
    """The version that it was warm-started from or is compared with."""
    spec: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    """`commit`, `branch`, `dirty`, `sha256` of all files that ran."""
    data: dict[str, Any] = field(default_factory=dict)
    """`place`, `sha256` of its manifest, `files`, `size_bytes`."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The job's result.json."""
    receipt: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What is not as one would think: a folder that changed since, a file left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What `<name>/versions/<number>.json` says; it never changes."""

    name: str
    number: int
    created_at: str
    by: str
    token: str
    """Random: tells whose write it was when the answer to it was lost."""
    files: tuple[File, ...]
    diff: File | None
    """What the code that ran had beyond its commit, as a patch; an object as the files are."""
    about: About

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def contents(self) -> tuple[File, ...]:
        """Everything that must be there for the version to be whole."""
        return self.files + ((self.diff,) if self.diff else ())

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return sum(file.size_bytes for file in self.files)


def key(name: str, number: int) -> str:
    """Where it lies in the store."""
    return f"{name}/versions/{number}.json"


def dump(version: Version) -> bytes:
    """A version as it is kept."""
    return documents.dump({"format": FORMAT, **asdict(version)})


def parse(data: bytes, name: str, number: int) -> Version:
    """What `dump` wrote for that very name and number; raises `WeightsError` for anything else."""
    where = key(name, number)
    values = documents.load(data, where)
    if values.get("format") != FORMAT:
        raise broken(where, f"its format is {values.get('format')!r:.60}, expected {FORMAT!r}")
    if (values.get("name"), values.get("number")) != (name, number) or isinstance(values.get("number"), bool):
        raise broken(where, "it speaks of another version")
    texts = [values.get(field) for field in ("created_at", "by", "token")]
    listed, diff = values.get("files"), values.get("diff")
    if not all(isinstance(text, str) for text in texts) or not isinstance(listed, list) or not listed:
        raise broken(where, "a part of it is missing")
    files = tuple(_file(each, where) for each in listed)
    if len({file.name.casefold() for file in files}) != len(files):
        raise broken(where, "it has one file twice")
    return Version(
        name=name,
        number=number,
        created_at=str(texts[0]),
        by=str(texts[1]),
        token=str(texts[2]),
        files=files,
        diff=None if diff is None else _file(diff, where),
        about=_about(values.get("about"), where),
    )


def _file(values: Any, where: str) -> File:
    if not isinstance(values, dict) or not names.is_sha256(values.get("sha256")):
        raise broken(where, "it has a file without a sha256")
    size = values.get("size_bytes")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise broken(where, "it has a file without a size")
    return File(name=names.check_file(values.get("name")), size_bytes=size, sha256=values["sha256"])


def _about(values: Any, where: str) -> About:
    if not isinstance(values, dict):
        raise broken(where, "a part of it is missing")
    parent, notes = values.get("parent"), values.get("notes")
    tables = {part: values.get(part) for part in ("spec", "code", "data", "metrics", "receipt")}
    good = (
        isinstance(values.get("run_id"), str)
        and (parent is None or documents.positive(parent))
        and isinstance(notes, list)
        and all(isinstance(table, dict) for table in tables.values())
    )
    if not good:
        raise broken(where, "its pedigree is not one")
    return About(run_id=values["run_id"], parent=parent, notes=tuple(map(str, notes or ())), **tables)  # type: ignore[arg-type] # seen above
