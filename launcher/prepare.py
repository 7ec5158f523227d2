"""What goes up, looked at before a machine is asked for: a file that cannot be read should cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.aws import storage
from launcher.aws.client import Aws
from launcher.domain import JobSpec
from launcher.errors import SpecError
from launcher.ports import Reporter
from launcher.sync.local import ignore, tree
from launcher.sync.local.private_keys import without_private_keys
from launcher.sync.local.surprise import surprise
from launcher.sync.ssh import keys

URL_LIFETIME_S = 6 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Luggage:
    """Code and data, scanned."""

    code: tree.Scan
    data: tree.Scan | None
    objects: tuple[storage.RemoteObject, ...]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """What stays behind though no rule says so, and why."""
        return self.code.skipped + (self.data.skipped if self.data else ())

    @property
    def surprises(self) -> list[str]:
        """What was hardly meant to go up as code."""
        return surprise(self.code)

    @property
    def text(self) -> str:
        """How much it is, for people."""
        scans = [scan for scan in (self.code, self.data) if scan is not None]
        files = sum(len(scan.items) for scan in scans)
        size_bytes = sum(scan.size_bytes for scan in scans)
        return f"{files} files, {size_bytes / 1e6:.1f} MB"


def check_key(spec: JobSpec, reporter: Reporter) -> None:
    """See that the user's own key can be used, repairing its permissions, before anything is bought.

    Raises `SpecError` with the exact command where it cannot be repaired.
    """
    if spec.ssh.key is None:
        return
    for note in keys.inspect(spec.ssh.key).notes:
        reporter.note(note)


def make_results_folder(folder: Path) -> None:
    """Make the folder that results will come home to, and see that it can be written, before anything is bought.

    Raises `SpecError`.
    """
    try:
        folder.mkdir(parents=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SpecError(
            f"results cannot be written to {folder}: {error.strerror}", hint="--outputs names another folder"
        ) from None


def pack(spec: JobSpec, cloud: Callable[[], Aws], *, code: tree.Scan | None = None) -> Luggage:
    """Scan code and data; `code` that is given is taken as it is, `cloud` is called where S3 has the data.

    Raises `SpecError` for what cannot be read and for an S3 prefix that holds nothing.
    """
    code = code or without_private_keys(tree.scan(spec.workdir, ignore=ignore.rules(spec.workdir)))
    if isinstance(spec.data, Path):
        data = tree.scan(spec.data, ignore=ignore.nothing())
        return Luggage(code=code, data=data, objects=())
    objects = tuple(storage.presign(cloud(), spec.data, URL_LIFETIME_S)) if spec.data else ()
    return Luggage(code=code, data=None, objects=objects)
