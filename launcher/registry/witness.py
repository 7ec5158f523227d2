"""The stable address as a witness of the log: it is written after the entry that it follows, so never ahead of it.

An address that is ahead tells that the log was cut off at its end, which entries that each name the one before cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launcher.errors import WeightsError
from launcher.registry import documents, names
from launcher.registry.entry import CROWNING, key
from launcher.registry.head import Head
from launcher.registry.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What one name's address says."""

    where: str
    """What must be out of the way before the address is forgotten."""
    number: int | None = None
    """The version that it leads to."""
    crowned: int = 0
    """The sequence of the entry that it follows; 0 where it says none."""
    entry: str = ""
    """sha256 of that entry; empty where it says none."""

    def check_head(self, name: str, head: Head) -> None:
        """See that the log still has what the address followed; raises `WeightsError`."""
        if self.crowned > head.sequence:
            raise self._damage(name, "is missing: the log was cut off at its end")
        if self.crowned > head.crowned:
            raise self._damage(name, "makes no version the champion: it was altered")
        if self.crowned and self.crowned == head.sequence:
            self._check_entry(name, head.sha256)

    def check(self, log: History) -> None:
        """The same, held against the whole log; raises `WeightsError`."""
        self.check_head(log.name, log.end)
        if self.crowned:
            if log.entries[self.crowned - 1].action not in CROWNING:
                raise self._damage(log.name, "makes no version the champion: it was altered")
            self._check_entry(log.name, log.sha256(self.crowned))
        if self.number is not None and self.number not in log.crowned:
            raise WeightsError(
                f"{log.name}/champion leads to {log.name}@{self.number}, which the log never made the champion: "
                "the log was cut off at its end, or the address was altered",
                hint=self._next(log.name, f"the entries after {key(log.name, log.sequence)}" if log.sequence else "it"),
            )

    def _check_entry(self, name: str, sha256: str) -> None:
        if self.entry not in ("", sha256):
            raise self._damage(name, f"was altered: expected sha256 {self.entry}, found {sha256}")

    def _damage(self, name: str, what: str) -> WeightsError:
        return WeightsError(
            f"{key(name, self.crowned)}, which {name}/champion follows, {what}",
            hint=self._next(name, key(name, self.crowned)),
        )

    def _next(self, name: str, lost: str) -> str:
        return (
            f"bring {lost} back from a copy of the store; to go on with what the log still says instead, "
            f"move away {self.where}, then: gpurun weights verify {name}"
        )


def told(values: dict[str, Any]) -> tuple[int, str]:
    """The `crowned` and `entry` of a document beside the address; what is none of these is left out."""
    crowned, sha256 = values.get("crowned"), values.get("entry")
    if not isinstance(crowned, int) or not documents.positive(crowned):
        return 0, ""
    return crowned, str(sha256) if names.is_sha256(sha256) else ""
