"""For a service: read the champion, and notice when it is another.

    champion = Champion("digits", store="/srv/weights")
    weights = champion.read()
    ...
    if champion.changed():
        weights = champion.read()

A local store needs numpy and nothing else of what gpurun installs.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from launcher.errors import WeightsError
from launcher.registry import names, reading
from launcher.registry.place import open_store
from launcher.registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.domain import Account
    from launcher.registry.version import Version
    from launcher.weights.arrays import Array

ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One version's weights, whole: all arrays are of the version whose number this is."""

    name: str
    number: int
    file: str
    sha256: str
    arrays: Mapping[str, Array]
    metrics: Mapping[str, Any]
    """The job's result.json."""


class Champion:
    """The champion of one name in one store; safe to share between threads."""

    def __init__(self, name: str, store: str | Path | None = None, *, account: Account | None = None) -> None:
        """`store`: a folder or `s3://bucket/prefix`; left out: GPURUN_WEIGHTS, else ./weights.

        Raises `WeightsError` for a bad name, and for a bucket what AWS answers.
        """
        self._name = names.check_model(name)
        self._registry = Registry(open_store(None if store is None else str(store), account=account))
        self._lock = threading.Lock()
        self._read: int | None = None

    @property
    def number(self) -> int | None:
        """The version that was read last."""
        return self._read

    def changed(self) -> bool:
        """Whether the champion is another than the one that was read last.

        Cheap: it looks for the log's next entry, one file that is not there or one request to S3.
        """
        with self._lock:
            return self._registry.history(self._name).champion != self._read

    def read(self, file: str | None = None) -> Weights:
        """The champion's arrays, verified; `file` names one where a version has several.

        One version's, whatever is promoted meanwhile. Raises `WeightsError` where there is none, and for damage.
        """
        with self._lock:
            for _ in range(ATTEMPTS):
                version = self._registry.resolve(f"{self._name}@{names.CHAMPION}")
                try:
                    weights = self._weights(version, file)
                except WeightsError:
                    # Retired and pruned while it was read: the one that replaced it is asked for anyway.
                    if self._registry.history(self._name).champion == version.number:
                        raise
                    continue
                self._read = version.number
                return weights
        raise WeightsError(
            f"the champion of {self._name} changed {ATTEMPTS} times while it was read", hint="read it again"
        )

    def _weights(self, version: Version, name: str | None) -> Weights:
        file = reading.choose(version, name)
        arrays = reading.arrays(self._registry.store, version, file)
        return Weights(
            name=version.name,
            number=version.number,
            file=file.name,
            sha256=file.sha256,
            arrays=MappingProxyType(arrays),
            metrics=MappingProxyType(version.about.metrics),
        )
