"""Weights out of the registry into a folder: `fetch-weights NAME@VERSION` and `weights export`."""

from __future__ import annotations

import filecmp
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.commands import session
from launcher.errors import SpecError, WeightsError

if TYPE_CHECKING:
    from launcher.registry.registry import Registry
    from launcher.registry.version import Version

FORMATS = ("pkl", "npz", "safetensors")


def registry(store: str | None, *, sandbox: bool, profile: str | None) -> Registry:
    """The registry that the command line means; only for a bucket does it matter whose credentials there are."""
    from launcher.registry import place
    from launcher.registry.registry import Registry

    in_s3 = place.named(store).startswith("s3://")
    account = session.account(sandbox=sandbox, profile=profile) if in_s3 and (sandbox or profile) else None
    return Registry(place.open_store(store, account=account))


def fetch(there: Registry, address: str, to: Path | None, format_: str | None, *, as_json: bool) -> None:
    """Every file of a version, verified; into `NAME-vNUMBER` where no folder is named."""
    version = there.resolve(address)
    folder = to or Path(f"{version.name}-v{version.number}")
    lay_out(there, version, folder, format_, all_files=True, as_json=as_json)


def lay_out(
    there: Registry, version: Version, folder: Path, format_: str | None, *, all_files: bool, as_json: bool
) -> None:
    """Write a version's files, weights in the format that is asked for; tells what lies where."""
    from launcher import render, weights
    from launcher.registry import reading

    there.check(version)
    weights.target_folder(folder)
    rows, cells = [], []
    for file in version.files:
        is_weights = reading.is_weights(file)
        if not is_weights and not all_files:
            continue
        kind = format_ if is_weights and Path(file.name).suffix != f".{format_}" else None
        target = folder / (Path(file.name).with_suffix(f".{kind}") if kind else file.name)
        _refuse_other(target, folder, version)
        with reading.opened(there.store, version, file) as copy:
            _write(copy, target, kind)
        size_bytes = target.stat().st_size
        rows.append({"file": str(target), "size_bytes": size_bytes, "of": file.name, "sha256": file.sha256})
        cells.append((str(target), render.size(size_bytes), file.sha256[:12]))
    if as_json:
        told = {"name": version.name, "number": version.number, "folder": folder, "files": rows}
        render.print_json(told, indent=1)
    else:
        table = render.table(("file", "size", "sha256 of the original"), cells)
        sys.stdout.write(f"{version}, verified\n{table}\n")


def _write(copy: Path, target: Path, kind: str | None) -> None:
    """Into its place, where nothing else lies: what is there already must be the same. Raises `WeightsError`."""
    from launcher import weights

    target.parent.mkdir(parents=True, exist_ok=True)
    if kind:
        weights.convert(copy, target, kind, overwrite=False)
    elif not target.exists():
        weights.copy(copy, target)
    elif not filecmp.cmp(copy, target, shallow=False):
        raise WeightsError(
            f"{target} is there already, and is another file than the version's",
            hint="name an empty folder: fetch-weights --to DIR, weights export --out DIR",
        )


def _refuse_other(target: Path, folder: Path, version: Version) -> None:
    """Nothing is written through a link that somebody laid, nor over a folder."""
    steps = [target, *[step for step in target.parents if folder in step.parents]]
    for step in steps:
        if step.is_symlink() or (step == target and step.is_dir()):
            raise SpecError(f"{step} is in the way of {version}", hint="--to DIR, an empty folder")
