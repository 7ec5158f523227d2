"""Everything that is kept, read and compared with what it should be."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.errors import WeightsError
from launcher.registry import reading
from launcher.registry.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    about: str
    """A version, or a name."""
    problem: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a look at everything found."""

    versions: int
    """Whole ones."""
    size_bytes: int
    """Read."""
    repointed: tuple[str, ...]
    """Names whose stable address lagged behind the log, and was put right."""
    findings: tuple[Finding, ...]


def verify(registry: Registry, only: list[str]) -> Verified:
    """Read every version of these names; nothing raises but a store that cannot be reached."""
    findings: list[Finding] = []
    repointed: list[str] = []
    whole, size_bytes = 0, 0
    for name in only:
        try:
            gone = registry.history(name).pruned
            numbers = [number for number in registry.numbers(name) if number not in gone]
        except WeightsError as error:
            findings.append(_finding(name, error))
            continue
        for number in numbers:
            try:
                version = registry.version(name, number)
                registry.require_crowned(version)
                reading.check(registry.store, version)
            except WeightsError as error:
                findings.append(_finding(f"{name}@{number}", error))
                continue
            whole, size_bytes = whole + 1, size_bytes + sum(file.size_bytes for file in version.contents)
        _see_address(registry, name, repointed, findings)
    return Verified(versions=whole, size_bytes=size_bytes, repointed=tuple(repointed), findings=tuple(findings))


def _see_address(registry: Registry, name: str, repointed: list[str], findings: list[Finding]) -> None:
    try:
        registry.trusted(name)  # an address that is ahead of the log is a proof, and is left alone
        before = registry.store.pointed(name)
        if registry.repoint(name) != before:
            repointed.append(name)
        champion = registry.history(name).champion
        if champion is not None:
            registry.store.check_pointed(registry.version(name, champion))
    except WeightsError as error:
        findings.append(_finding(f"{name}/champion", error))


def _finding(about: str, error: WeightsError) -> Finding:
    return Finding(about=about, problem=error.message, next_step=error.hint)
