"""Finishes an update that was decided, as often as it is cut off; or gives it up where that cannot be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

from .files import at_home, below, is_folder, read_json, write_atomically
from .place import OWNER, Place, present, sole
from .wire import Json, Refusal, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


def settle(root: str) -> None:
    """Finish an update that was decided and cut off; refuses a folder where one was given up."""
    place = Place(root)
    if os.path.exists(place.journal):
        with sole(place):
            finish(place)
    if place.is_half():
        raise Refusal(f"{root} holds half of an update that could not be finished: it must be sent again")


@contextlib.contextmanager
def settled(root: str) -> Iterator[None]:
    """Nothing is half done there, and nothing is put in place meanwhile; refuses where `settle` does."""
    place = Place(root)
    while True:
        settle(root)
        with sole(place, fcntl.LOCK_SH):
            if not os.path.exists(place.journal):  # of one that came between the two
                yield
                return


def settle_or_forget(place: Place) -> str:
    """Finish an update that was cut off, or give it up where that cannot be: says why, if so. An upload follows."""
    if not os.path.exists(place.journal):
        return ""
    with sole(place):
        return finish_or_forget(place)


def finish_or_forget(place: Place) -> str:
    """Finish an update, or have the next upload send anew what the update would have changed; says why, if so."""
    try:
        finish(place)
    except (OSError, ValueError, OverflowError, LookupError, TypeError, Refusal) as error:
        forget(place)
        return f"{type(error).__name__}: {error}"
    return ""


def forget(place: Place) -> None:
    """Give up an update that is done in part: what it may have changed counts as unknown, and no job starts there."""
    items = {item[0]: item for item in place.items()}
    touched = list(items)
    with contextlib.suppress(ValueError, LookupError, TypeError):
        new: Json = read_json(place.new_record) or {"items": []}
        items = {**{item[0]: item for item in new["items"]}, **items}
        journal: Json = read_json(place.journal)
        touched = [*journal["files"], *(row[0] for row in journal["meta"])]
    for name in touched:
        if name in items and items[name][1] == "f":
            items[name] = [name, "f", -1, 0, 0, "", ""]
    for name, item in items.items():
        now = present(place.root, item)
        if now and now[1] in {"d", "l"}:
            items[name] = [*now, ""]  # as the laptop is told of it, which then orders no more than what differs
    text = json.dumps({"half": True, "digest": "", "items": [items[name] for name in sorted(items)]})
    try:
        write_atomically(place.record, text)
    except OSError:  # the disk is full; what is written now frees more than it takes
        shutil.rmtree(place.tree, ignore_errors=True)
        write_atomically(place.record, text)
    os.unlink(place.journal)
    shutil.rmtree(place.stage, ignore_errors=True)


def drop(_wire: Wire, request: Json) -> Json:
    """Forget what is staged there."""
    place = Place(at_home(request["root"]))
    with sole(place):
        failed = finish_or_forget(place)
        shutil.rmtree(place.stage, ignore_errors=True)
    return {"failed": failed} if failed else {}


def finish(place: Place) -> None:
    """Do what the journal says, as often as it takes."""
    journal = read_json(place.journal)
    if journal is None:
        return
    remove_all(place, journal)
    if not move_whole(place):
        move_each(place, journal["files"])
    for name, _ in journal["folders"]:
        os.makedirs(below(place.root, name), exist_ok=True)
    for name, target in journal["links"]:
        put_link(place, below(place.root, name), target)
    for name, mtime_ns, mode in journal["meta"]:
        path = below(place.root, name)
        with contextlib.suppress(FileNotFoundError):  # which the next upload finds out
            os.chmod(path, mode)
            os.utime(path, ns=(mtime_ns, mtime_ns))
    for name, mode in journal["folders"]:
        os.chmod(below(place.root, name), mode | OWNER)
    with contextlib.suppress(FileNotFoundError):  # moved before the cut
        os.replace(place.new_record, place.record)
    os.unlink(place.journal)
    shutil.rmtree(place.stage, ignore_errors=True)


def move_whole(place: Place) -> bool:
    """Where nothing lies yet the tree appears in one step."""
    if os.path.isdir(place.root):
        with contextlib.suppress(OSError):
            os.rmdir(place.root)
    if os.path.lexists(place.root):
        return False
    try:
        os.rename(place.tree, place.root)
    except FileNotFoundError:
        os.makedirs(place.root, exist_ok=True)
    return True


def move_each(place: Place, names: list[str]) -> None:
    """Put staged files over the old ones, one rename each."""
    made: set[str] = set()
    for name in names:
        path = below(place.root, name)
        folder = path.rpartition("/")[0]
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        with contextlib.suppress(FileNotFoundError):  # moved before the cut
            os.replace(f"{place.tree}/{name}", path)


def put_link(place: Place, path: str, target: str) -> None:
    """Have a symbolic link there, in one step."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place.link)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, place.link)
    os.replace(place.link, path)


def remove_all(place: Place, journal: Json) -> None:
    """Remove what vanished; what replaces it under its name is not taken for it when this is done again.

    Nor is what lies behind a link that has taken a folder's place.
    """
    replaced = {*journal["files"], *(link[0] for link in journal["links"])}
    kept = {folder[0] for folder in journal["folders"]}
    real = os.path.realpath(place.root)
    straight: dict[str, bool] = {}
    for name in sorted(journal["delete"], reverse=True):
        path, folder = below(place.root, name), name.rpartition("/")[0]
        if folder not in straight:
            straight[folder] = os.path.realpath(f"{real}/{folder}") == f"{real}/{folder}".rstrip("/")
        if straight[folder] and name not in (kept if is_folder(path) else replaced):
            remove(path)


def remove(path: str) -> None:
    """Remove a file or link, or a folder if nothing else lies in it."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}:
            raise
