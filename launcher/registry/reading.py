"""Files out of the store: every byte is hashed on its way, and nothing is believed before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from launcher import weights
from launcher.errors import WeightsError
from launcher.registry.store import OBJECTS, Store
from launcher.registry.version import File, Version
from launcher.weights.arrays import Array

BLOCK_BYTES = 1 << 20
WEIGHTS_SUFFIXES = frozenset({".pkl", ".pickle", ".npz", ".safetensors"})


def is_weights(file: File) -> bool:
    """Whether a file holds arrays."""
    return Path(file.name).suffix.lower() in WEIGHTS_SUFFIXES


def check(store: Store, version: Version) -> None:
    """Read all that a version consists of; raises `WeightsError` for the first that is not as it was."""
    for file in version.contents:
        _take(store, version, file, None)


def fetch(store: Store, version: Version, file: File, folder: Path) -> Path:
    """A verified copy below a folder, whole or not at all; raises `WeightsError`."""
    target = folder / file.name
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as copy:
            _take(store, version, file, copy)
        draft.replace(target)
    except OSError as error:
        raise WeightsError(
            f"cannot write {target}: {error.strerror or error}", hint="name a folder that can be written to: --to DIR"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return target


@contextmanager
def opened(store: Store, version: Version, file: File) -> Iterator[Path]:
    """A verified copy for a while, in a folder of our own."""
    with TemporaryDirectory(prefix="gpurun-weights-") as folder:
        yield fetch(store, version, file, Path(folder))


def arrays(store: Store, version: Version, file: File) -> dict[str, Array]:
    """The arrays of a weights file, verified and opened without running anything; raises `WeightsError`."""
    with opened(store, version, file) as path:
        try:
            return weights.load(path)
        except WeightsError as error:
            message = error.message.replace(str(path), f"{file.name} of {version}")
            raise WeightsError(message, hint=error.hint) from error


def text(store: Store, version: Version, file: File) -> str:
    """A small file as text."""
    with opened(store, version, file) as path:
        return path.read_text("utf-8", "replace")


def choose(version: Version, name: str | None = None) -> File:
    """The weights file that is meant: the one of that name, or the only one; raises `WeightsError`."""
    found = [file for file in version.files if is_weights(file)]
    named = [file for file in found if file.name == name] if name else found
    if len(named) == 1:
        return named[0]
    there = ", ".join(file.name for file in found) or "no weights at all"
    asked = f"no weights file {name!r}" if name else f"{len(found)} weights files"
    raise WeightsError(f"{version} has {asked}; it has {there}", hint="name one of them: --file NAME")


def _take(store: Store, version: Version, file: File, copy: IO[bytes] | None) -> None:
    source = store.open(file.sha256)
    if source is None:
        raise damaged(store, version, file, "it is not there")
    digest, size = hashlib.sha256(), 0
    with source as stream:
        # One byte more than there may be, so that a longer one is seen, and an endless one ends.
        while block := stream.read(min(BLOCK_BYTES, file.size_bytes + 1 - size)):
            digest.update(block)
            size += len(block)
            if copy is not None:
                copy.write(block)
    if size != file.size_bytes:
        found = "more" if size > file.size_bytes else str(size)
        raise damaged(store, version, file, f"expected {file.size_bytes} bytes, found {found}")
    if digest.hexdigest() != file.sha256:
        raise damaged(store, version, file, f"expected sha256 {file.sha256}, found {digest.hexdigest()}")


def damaged(store: Store, version: Version, file: File, why: str) -> WeightsError:
    """The error for an object that is not what the version says."""
    again = f"gpurun weights add {version.about.run_id} puts it back" if version.about.run_id else "add it again"
    return WeightsError(
        f"{file.name} of {version} cannot be trusted: {store.uri}/{OBJECTS}/{file.sha256}: {why}",
        hint=f"gpurun weights verify {version.name} shows all that is damaged; {again}, "
        f"gpurun weights rollback {version.name} returns to the champion before (each with --store {store.uri})",
    )
