"""The stable address in a folder: `<name>/champion`, a link to `<name>/releases/<number>`, swapped by one rename.

Beside it `<name>/crowned.json` says which entry of the log the link follows. A release is a version's files under their
own names, hard links to the objects: what a program reads that knows nothing of gpurun. It never changes, so that
whoever resolves the link once reads one version and no mix.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.errors import WeightsError
from launcher.registry import documents, names, version
from launcher.registry import witness as witnesses
from launcher.registry.witness import Witness

DRAFT = ".draft-"
VERSION_FILE = "version.json"
CROWNED_FILE = "crowned.json"


class Releases:
    """Those below one root; every method raises `OSError`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, name: str, number: int) -> Path:
        """A version's files under their own names."""
        return self._root / name / "releases" / str(number)

    def pointed(self, name: str) -> int | None:
        """The version that the link leads to, where its folder is there."""
        link = self._root / name / "champion"
        try:
            target = link.readlink()
        except FileNotFoundError:
            return None
        except OSError:
            raise _in_the_way(link) from None
        number = names.parse_number(target.name)
        usual = number is not None and target == Path("releases") / str(number)
        return number if usual and (link / VERSION_FILE).is_file() else None

    def witness(self, name: str) -> Witness | None:
        """What is said of the log: which entry the link follows, and where it leads, whatever lies there."""
        link, crowned = self._root / name / "champion", self._root / name / CROWNED_FILE
        number, told = None, (0, "")
        with suppress(OSError):  # not there, or no link: `pointed` tells
            number = names.parse_number(link.readlink().name)
        with suppress(FileNotFoundError, WeightsError):  # it is derived, and is written again
            told = witnesses.told(documents.load(crowned.read_bytes(), str(crowned)))
        if number is None and not told[0]:
            return None
        return Witness(where=f"{link} and {crowned}", number=number, crowned=told[0], entry=told[1])

    def point(self, chosen: version.Version, objects: Path, crowned: dict[str, Any]) -> None:
        """Make the release where there is none, say which entry is followed, then swap the link."""
        folder = self.folder(chosen.name, chosen.number)
        if not (folder / VERSION_FILE).is_file():
            self._make(chosen, objects, folder)
        link = self._root / chosen.name / "champion"
        if link.exists() and not link.is_symlink():
            raise _in_the_way(link)
        draft = link.with_name(f"{DRAFT}{os.getpid()}-{secrets.token_hex(8)}")
        _write(draft, documents.dump(crowned))
        draft.replace(link.with_name(CROWNED_FILE))
        draft.symlink_to(Path("releases") / str(chosen.number))
        draft.replace(link)

    def check(self, chosen: version.Version) -> None:
        """See that a release holds what its version says; raises `WeightsError`."""
        folder = self.folder(chosen.name, chosen.number)
        for file in chosen.files:
            path = folder / file.name
            if not path.is_file() or path.is_symlink() or _sha256(path) != file.sha256:
                raise WeightsError(
                    f"{path} is not {file.name} of {chosen}: expected sha256 {file.sha256}",
                    hint=f"rm -r {folder}   then gpurun weights verify {chosen.name} makes it again",
                )

    def tidy(self, name: str, older_than_s: float) -> None:
        """Remove the folders that the link does not lead to, and drafts; a former champion's is made again at need.

        None goes before the link has stood for so long: somebody may be reading what it led to.
        """
        kept = self.pointed(name)
        limit_s = time.time() - older_than_s
        link = self._root / name / "champion"
        if link.is_symlink() and link.lstat().st_mtime >= limit_s:
            return
        places = [*(self._root / name / "releases").glob("*"), *(self._root / name).glob(f"{DRAFT}*")]
        places += (self._root / name / "releases").glob(f"{DRAFT}*")
        for path in places:
            if path.name != str(kept) and path.lstat().st_mtime < limit_s:
                _remove(path)

    def _make(self, chosen: version.Version, objects: Path, folder: Path) -> None:
        draft = folder.with_name(f"{DRAFT}{os.getpid()}-{secrets.token_hex(8)}")
        try:
            draft.mkdir(parents=True)
            for file in chosen.files:
                place = draft / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(objects / file.sha256, place)
            (draft / VERSION_FILE).write_bytes(version.dump(chosen))
            with suppress(FileExistsError):
                _take_place(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take_place(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        # Another made the very same meanwhile; one without its description is a half-removed one.
        if (folder / VERSION_FILE).is_file():
            return
        _remove(folder)
        draft.rename(folder)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # too many links, or a disk of its own
        shutil.copyfile(source, target)
        target.chmod(0o444)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Out of the way first: half a release must not be taken for one.
        gone = path.with_name(f"{DRAFT}gone-{secrets.token_hex(8)}")
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _in_the_way(link: Path) -> WeightsError:
    return WeightsError(
        f"{link} is not the link that gpurun makes there", hint=f"move it away, then: gpurun weights verify ({link})"
    )
