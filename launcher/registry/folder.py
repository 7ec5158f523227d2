"""A store in a local folder, which may be shared: every write is whole, on the disk, and in nobody's way.

A document appears by a hard link to a finished draft, which fails where the name is taken: exclusive on every file
system that has links, NFS included (link(2), open(2) on O_EXCL).
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from launcher.errors import WeightsError
from launcher.registry import names
from launcher.registry.documents import MAX_BYTES
from launcher.registry.release import Releases
from launcher.registry.store import MARK, MARK_CONTENT, OBJECTS, TRASH, Held
from launcher.registry.version import Version
from launcher.registry.witness import Witness

DRAFT = ".draft-"
BLOCK_BYTES = 1 << 20
READ_ONLY = 0o444
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Folder:
    """`launcher.registry.store.Store` in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._releases = Releases(root)

    @property
    def uri(self) -> str:
        """The folder."""
        return str(self._root)

    def prepare(self) -> None:
        """Make the folder; raises `WeightsError` where it cannot be written to or has no hard links."""
        with self._doing("write to"):
            self._root.mkdir(parents=True, exist_ok=True)
        if self.read(MARK) is None:
            self.create(MARK, MARK_CONTENT)

    def read(self, key: str) -> bytes | None:
        """A document; never through a link."""
        path = self._path(key)
        with self._doing("read"):
            try:
                with _opened(path) as file:
                    if os.fstat(file.fileno()).st_size > MAX_BYTES:
                        raise self._strange(path, f"is larger than {MAX_BYTES} bytes")
                    return file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                return None

    def read_many(self, keys: list[str]) -> list[bytes | None]:
        """Several documents."""
        return [self.read(key) for key in keys]

    def create(self, key: str, data: bytes) -> bool:
        """Write where nothing lies yet; whether it was ours that did."""
        path = self._path(key)
        with self._doing("write to"):
            _make_folders(path.parent)
            with _draft(path.parent) as (draft, file):
                file.write(data)
                _settle(file)
                return self._publish(draft, path)

    def keys(self, prefix: str, *, after: str = "") -> list[Held]:
        """The documents in one folder."""
        return self._held(self._path(prefix.rstrip("/")), prefix, after)

    def models(self) -> list[str]:
        """The names that have a folder."""
        with self._doing("read"), suppress(FileNotFoundError), os.scandir(self._root) as found:
            return sorted(
                each.name for each in found if names.is_model(each.name) and each.is_dir(follow_symlinks=False)
            )
        return []

    def keep(self, source: Path, sha256: str, size_bytes: int, *, fresh_s: float) -> None:
        """Have the object; one that lies here already is read before it is believed."""
        path = self._path(f"{OBJECTS}/{sha256}")
        with self._doing("write to"):
            if self._is_whole(path, sha256):
                if time.time() - path.stat().st_mtime > fresh_s:
                    os.utime(path)
                return
            _make_folders(path.parent)
            with _draft(path.parent) as (draft, file), source.open("rb") as original:
                digest, copied = _copy(original, file)
                if (digest, copied) != (sha256, size_bytes):
                    raise WeightsError(f"{source} changed while it was read", hint="add it again when nobody writes it")
                _settle(file)
                draft.chmod(READ_ONLY)
                draft.replace(path)  # of the same content, or in the place of a damaged one
                _sync_folder(path.parent)

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether an object of that size is kept."""
        try:
            found = self._path(f"{OBJECTS}/{sha256}").lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes

    def open(self, sha256: str) -> AbstractContextManager[BinaryIO] | None:
        """An object's bytes."""
        path = self._path(f"{OBJECTS}/{sha256}")
        with self._doing("read"):
            try:
                return _opened(path)
            except FileNotFoundError:
                return None

    def objects(self) -> list[Held]:
        """All objects."""
        return [held for held in self._held(self._path(OBJECTS), "") if names.is_sha256(held.key)]

    def set_aside(self, sha256: str) -> None:
        """Move an object to the trash."""
        self._move(OBJECTS, TRASH, sha256)

    def bring_back(self, sha256: str) -> None:
        """Move an object from the trash."""
        self._move(TRASH, OBJECTS, sha256)

    def forget(self, sha256: str) -> None:
        """Remove an object from the trash."""
        with self._doing("write to"):
            self._path(f"{TRASH}/{sha256}").unlink(missing_ok=True)

    def trash(self) -> list[Held]:
        """What lies in the trash."""
        return [held for held in self._held(self._path(TRASH), "") if names.is_sha256(held.key)]

    def pointed(self, name: str) -> int | None:
        """The version that `<name>/champion` leads to."""
        with self._doing("read"):
            return self._releases.pointed(name)

    def witness(self, name: str) -> Witness | None:
        """What `<name>/crowned.json` says, and where the link leads."""
        with self._doing("read"):
            return self._releases.witness(name)

    def point(self, version: Version, crowned: int, entry: str) -> bool:
        """Swap the link `<name>/champion`; who swapped it looks at the log after that."""
        self._path(f"{version.name}/champion")
        objects = self._path(OBJECTS)
        with self._doing("write to"):
            said = self._releases.witness(version.name)
            told = said is not None and (said.crowned, said.entry) == (crowned, entry)
            if told and self._releases.pointed(version.name) == version.number:
                return True
            self._releases.point(version, objects, {"crowned": crowned, "entry": entry})
            return False

    def check_pointed(self, version: Version) -> None:
        """Hash the files below `<name>/champion`."""
        with self._doing("read"):
            self._releases.check(version)

    def tidy(self, older_than_s: float) -> None:
        """Remove drafts of crashed writers, and the folders of former champions."""
        with self._doing("write to"):
            for model in self.models():
                self._releases.tidy(model, older_than_s)
            for folder in self._folders():
                _tidy_drafts(folder, older_than_s)

    def _folders(self) -> list[Path]:
        parts = [f"{model}/{part}" for model in self.models() for part in ("versions", "history")]
        return [self._root, *(self._path(part) for part in [OBJECTS, TRASH, *parts])]

    def _path(self, key: str) -> Path:
        """Where a key lies; raises `WeightsError` where a link stands in the way to it."""
        path = self._root
        parts = key.split("/")
        for part in parts[:-1]:
            path = path / part
            if path.is_symlink():
                raise self._strange(path, "is a symbolic link")
        return path / parts[-1]

    def _held(self, folder: Path, prefix: str, after: str = "") -> list[Held]:
        held = []
        with self._doing("read"), suppress(FileNotFoundError), os.scandir(folder) as found:
            for each in found:
                if each.name.startswith(".") or f"{prefix}{each.name}" <= after:
                    continue
                with suppress(FileNotFoundError):  # moved or pruned meanwhile
                    about = each.stat(follow_symlinks=False)
                    if not stat.S_ISREG(about.st_mode):
                        raise self._strange(Path(each.path), "is not a plain file")
                    held.append(Held(key=f"{prefix}{each.name}", size_bytes=about.st_size, modified_s=about.st_mtime))
        return held

    def _move(self, source: str, target: str, sha256: str) -> None:
        with self._doing("write to"), suppress(FileNotFoundError):
            place = self._path(f"{target}/{sha256}")
            _make_folders(place.parent)
            self._path(f"{source}/{sha256}").rename(place)
            _sync_folder(place.parent)

    def _is_whole(self, path: Path, sha256: str) -> bool:
        try:
            with _opened(path) as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False

    def _publish(self, draft: Path, path: Path) -> bool:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise WeightsError(
                f"the file system of {self._root} has no hard links, without which two promotions could both win",
                hint="keep the weights on another disk (--store DIR, or GPURUN_WEIGHTS), or in s3://bucket/prefix",
            ) from error
        _sync_folder(path.parent)
        return True

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._strange(Path(str(error.filename)), "is a symbolic link") from error
            raise WeightsError(
                f"cannot {what} the weights store {self._root}: {error.strerror or error}"
                + (f" ({error.filename})" if error.filename else ""),
                hint=f"see `ls -ld {self._root}` and `df -h {self._root}`, or name another: --store DIR",
            ) from error

    def _strange(self, path: Path, what: str) -> WeightsError:
        return WeightsError(f"{path} {what}, which the store never makes", hint=f"look at it, and move it away: {path}")


def _opened(path: Path) -> BufferedReader:
    """A plain file for reading; a link raises `OSError` (ELOOP)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    return os.fdopen(descriptor, "rb")


@contextmanager
def _draft(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file that nobody reads, gone at the end unless it was moved."""
    path = folder / f"{DRAFT}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _copy(source: BinaryIO, target: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        target.write(block)
        size += len(block)
    return digest.hexdigest(), size


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _make_folders(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Have a name on the disk as well as the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tidy_drafts(folder: Path, older_than_s: float) -> None:
    with suppress(FileNotFoundError):
        for path in folder.glob(f"{DRAFT}*"):
            with suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime < older_than_s:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
