"""What goes up, looked at before a machine is asked for: a file that cannot be read should cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.aws import storage
from launcher.aws.client import Aws
from launcher.domain import JobSpec
from launcher.ports import Reporter
from launcher.sync import ignore, keys, manifest

URL_LIFETIME_S = 6 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Luggage:
    """Code and data, scanned."""

    code: manifest.Scan
    data: manifest.Scan | None
    objects: tuple[storage.RemoteObject, ...]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """What stays behind though no rule says so, and why."""
        return self.code.skipped + (self.data.skipped if self.data else ())

    @property
    def text(self) -> str:
        """How much it is, for people."""
        scans = [scan for scan in (self.code, self.data) if scan is not None]
        files = sum(len(scan.manifest.entries) for scan in scans)
        size_bytes = sum(scan.manifest.size_bytes for scan in scans)
        return f"{files} files, {size_bytes / 1e6:.1f} MB"


def check_key(spec: JobSpec, reporter: Reporter) -> None:
    """See that the user's own key can be used, repairing its permissions, before anything is bought.

    Raises `SpecError` with the exact command where it cannot be repaired.
    """
    if spec.ssh.key is None:
        return
    for note in keys.inspect(spec.ssh.key).notes:
        reporter.note(note)


def pack(spec: JobSpec, aws: Aws) -> Luggage:
    """Scan code and data.

    Raises `SpecError` for what cannot be read and for an S3 prefix that holds nothing.
    """
    code = manifest.scan(spec.workdir, ignore=ignore.rules(spec.workdir))
    if isinstance(spec.data, Path):
        data = manifest.scan(spec.data, ignore=ignore.nothing())
        return Luggage(code=code, data=data, objects=())
    objects = tuple(storage.presign(aws, spec.data, URL_LIFETIME_S)) if spec.data else ()
    return Luggage(code=code, data=None, objects=objects)
