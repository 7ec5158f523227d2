"""A new version, step by step: objects first, the description last, so that a crash leaves nothing half there."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from launcher import weights
from launcher.errors import WeightsError
from launcher.registry import names, reading, version
from launcher.registry.documents import now
from launcher.registry.version import About, File, Version
from launcher.registry.who import who

if TYPE_CHECKING:
    from launcher.registry.registry import Registry

DIFF_NAME = "code.patch"
TOUCH_AGE_S = 1800.0
"""Half of the shortest time for which `prune` leaves objects alone by default."""


def add(registry: Registry, name: str, files: Mapping[str, Path], about: About, diff: bytes) -> Version:
    """Keep the files and describe them under the next number; raises `WeightsError`."""
    if not files:
        raise WeightsError("a version needs a file at least", hint="gpurun weights add RUN, a run that saved weights")
    if about.parent is not None:
        registry.version(name, about.parent)
    with TemporaryDirectory(prefix="gpurun-weights-") as folder:
        # What is checked is what is kept, whoever writes to the originals meanwhile.
        contents = {_copied(file, path, Path(folder)): Path(folder, file) for file, path in files.items()}
        for file, path in contents.items():
            if reading.is_weights(file):
                _check_opens(file, path)
        patch = _patch(diff, Path(folder) / ".patch") if diff else None
        if patch:
            contents[patch] = Path(folder) / ".patch"
        drawn = Version(
            name=name,
            number=1,
            created_at=now(),
            by=who(),
            token=secrets.token_hex(8),
            files=tuple(file for file in contents if file is not patch),
            diff=patch,
            about=about,
        )
        _keep_all(registry, contents)
        written = _number(registry, drawn)
        # Whatever a prune took in between, which could not know of the version, is put back while we have it.
        gone = [file for file in contents if not registry.store.has(file.sha256, file.size_bytes)]
        _keep_all(registry, {file: contents[file] for file in gone})
    return written


def _number(registry: Registry, drawn: Version) -> Version:
    """Write it under the first number that is free, unless the same is there already."""
    numbers = registry.numbers(drawn.name)
    while True:
        same = _same(registry, numbers, drawn)
        if same is not None:
            return same
        wanted = replace(drawn, number=numbers[-1] + 1 if numbers else 1)
        if registry.store.create(version.key(wanted.name, wanted.number), version.dump(wanted)):
            return wanted
        numbers.append(wanted.number)


def _same(registry: Registry, numbers: list[int], drawn: Version) -> Version | None:
    if not drawn.about.run_id:
        return None
    files = {(file.name, file.sha256) for file in drawn.files}
    again = [
        each
        for each in registry.versions(drawn.name, numbers)
        if each.about.run_id == drawn.about.run_id and {(file.name, file.sha256) for file in each.files} == files
    ]
    gone = registry.history(drawn.name).pruned if again else set()
    return next((each for each in reversed(again) if each.number not in gone), None)


def _keep_all(registry: Registry, contents: Mapping[File, Path]) -> None:
    for file, path in contents.items():
        registry.store.keep(path, file.sha256, file.size_bytes, fresh_s=TOUCH_AGE_S)


def _copied(name: str, source: Path, folder: Path) -> File:
    target = folder / names.check_file(name)
    try:
        if source.is_symlink():
            raise WeightsError(f"{source} is a link", hint="add the file that it leads to")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise WeightsError(f"cannot read {source}: {error.strerror or error}", hint=f"see `ls -l {source}`") from error
    return _file(name, target)


def _patch(diff: bytes, path: Path) -> File:
    path.write_bytes(diff)
    return _file(DIFF_NAME, path)


def _file(name: str, path: Path) -> File:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(name=name, size_bytes=path.stat().st_size, sha256=sha256)


def _check_opens(file: File, path: Path) -> None:
    try:
        weights.load(path)
    except WeightsError as error:
        raise WeightsError(error.message.replace(str(path), file.name), hint=error.hint) from error
